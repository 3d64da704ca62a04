"""What is said beside the table, with all stages scripted: judges in full, answers judged, what was unparsed and failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lorag.evaluating.details import measure_details, planned_details, usage_json
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import SUPPORT, JudgeInputs
from lorag.pipeline.engine.layer import Layer
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from lorag.pipeline.evaluation.ablation import ChainItem, Configuration, JudgeItem, TestSet, one_at_a_time
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.bench import Bench, Parts
from lorag.pipeline.evaluation.journal import Journal
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.records import Hit, Passage, Query, Role
from lorag.pipeline.stages import Retriever

PASSAGE = Passage("p", "d", "d.md", "Pier", "", "The pier was built in 1911.", 0, 27)


class Scripted:
    """The base writes no citation and no label; the adapters do. Tuned verdicts lean to `supported`."""

    adapters: tuple[str, ...] = ("s", "j")

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        return [Completion(self._reply(request), 10, 4, Finish.STOP) for request in requests]

    def _reply(self, request: Generation) -> str:
        if request.stage == "synthesize":
            return "in 1911 [1]" if request.adapter else "perhaps"
        return "supported" if request.adapter else "I would say supported."

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        return [(0.8, 0.15, 0.05) if request.adapter else (0.2, 0.3, 0.5) for request in requests]


class One:
    def search_many(self, questions: Sequence[str], k: int, **options: Any) -> list[list[Hit]]:
        return [[Hit(PASSAGE, 1.0)] for _ in questions]


def judgment(name: str, label: str) -> JudgeItem:
    return JudgeItem(name, SUPPORT, JudgeInputs(answer="in 1911", passages=(PassageText("Pier", PASSAGE.text),)), label, name)


TESTS = TestSet(
    chain=(
        ChainItem(Query("When?"), GoldAnswer("q1", ("1911",), True, ("p",))),
        ChainItem(Query("Who?"), GoldAnswer("q2", ("x",))),
    ),
    rewrites=(),
    judgments=(judgment("j1", "supported"), judgment("j2", "supported"), judgment("j3", "partly")),
)


def test_the_details_of_a_run() -> None:
    journal = Journal()
    parts = Parts(Layer(Scripted(), journal), {Role.SYNTHESIZER: "s", Role.JUDGE: "j"}, Retriever(One(), k=1))
    bench = Bench(parts, TESTS)
    measured = [bench.measure(each) for each in one_at_a_time([Role.SYNTHESIZER, Role.JUDGE])]
    before = sum(usage.requests for usage in journal.usage())
    found = measure_details(parts, TESTS, measured)
    made = sum(usage.requests for usage in journal.usage()) - before
    assert made + 2 == planned_details(TESTS, (Role.SYNTHESIZER, Role.JUDGE))  # the base's two answers cite nothing to judge

    base, tuned = found.judges
    assert [(each.configuration, each.task) for each in found.judges] == [("base chain", "support"), ("+ judge", "support")]
    assert (base.written_in_format, tuned.written_in_format) == (0.0, 1.0)
    assert base.scores is not None
    assert tuned.scores is not None
    assert (base.scores.accuracy, tuned.scores.accuracy) == (0.0, pytest.approx(2 / 3))
    assert tuned.scores.ece == pytest.approx(0.8 - 2 / 3)

    plain, all_on = found.support
    assert (plain.configuration, all_on.configuration) == ("base chain", "all adapters")
    assert [(each.judged, each.supported, each.proven) for each in found.support] == [(2, None, False)] * 2, "no floor is beaten"
    assert all_on.calibration == tuned.scores  # the judge that judged them, on its own test rows

    assert all_on.powered is not None and plain.risk is not None
    assert (all_on.powered.labelled, all_on.powered.unlabelled, all_on.powered.groups) == (3, 2, 5)
    assert [share.labels for share in all_on.powered.shares] == pytest.approx([2 / 3, 1 / 3, 0])
    assert (plain.risk.answered, plain.risk.risk, plain.risk.aurc) == (2, 1.0, 1.0)
    by_words = {each.configuration: (each.recall, each.precision) for each in found.alce if each.entailment == "words"}
    assert by_words == {"base chain": (0, 0), "all adapters": (1, 1)}
    assert [(row.kind, row.n, row.refused) for row in found.refusals[0].rows] == [
        ("gold shown", 2, 0),
        ("gold not shown", 0, 0),
        ("no document answers", 0, 0),
    ]

    bad = {(each.configuration, each.stage): each.unparsed for each in found.outcomes if each.unparsed or each.failed}
    assert bad == {("base chain", "synthesize"): ("q1", "q2"), ("+ judge", "synthesize"): ("q1", "q2")}
    assert found.rewrites.rows == ()
    took = {(each["stage"], each["adapter"]): each for each in usage_json(journal.usage())}
    assert (took["synthesize", "s"]["requests"], took["synthesize", "s"]["completion_tokens"]) == (2, 8)
    assert took["support", "j"]["latency"] > 0
    assert took["support", "j"]["requests"] == 3 + 2 * 2 + 2  # labelled judgments, answers of both ends, their cited statements
    assert took["written labels", "j"]["requests"] == 3
    assert {stage for stage, _ in took} == {"synthesize", "support", "written labels"}
    assert found.to_json().keys() == {"rewrites", "judges", "support", "refusals", "alce", "conversations", "outcomes"}


@pytest.mark.parametrize(("groups", "beaten"), [(8, True), (7, False)])
def test_a_judge_stands_beside_the_best_floor_of_its_task_and_speaks_if_it_is_better(groups: int, beaten: bool) -> None:
    """Two labels in turn, of which the judge has every one right and the floor half: macro-F1 1 and (2/3 + 0) / 2 = 1/3."""
    labels = ["supported", "partly"] * groups
    tests = replace(
        TESTS, judgments=tuple(replace(judgment(f"j{n}", label), group=f"d{n // 2}") for n, label in enumerate(labels))
    )
    parts = Parts(Scripted(), {Role.SYNTHESIZER: "s", Role.JUDGE: "j"}, Retriever(One(), k=1))
    bench = Bench(parts, tests)
    measured = [bench.measure(each) for each in one_at_a_time([Role.SYNTHESIZER, Role.JUDGE])]
    right = tuple(replace(each, label=each.gold) for each in measured[2].judgments)
    measured[2] = replace(measured[2], judgments=right)
    always = tuple(Judged(each.id, each.gold, "support: supported", {}, group=each.group) for each in right)
    never = tuple(replace(each, label="support: unsupported") for each in always)
    floors = [
        replace(measured[0], configuration=Configuration(name, frozenset()), judgments=given)
        for name, given in (("never right", never), ("most frequent label", always))
    ]
    found = measure_details(parts, tests, measured, floors)
    _, tuned = found.judges
    assert (tuned.floor, tuned.floor_f1, tuned.beaten) == ("most frequent label", pytest.approx(1 / 3), beaten)
    assert [(each.proven, each.supported) for each in found.support] == [(beaten, 1.0 if beaten else None)] * 2


def test_without_a_judge_adapter_no_answer_is_judged() -> None:
    parts = Parts(Scripted(), {Role.SYNTHESIZER: "s"}, Retriever(One(), k=1))
    bench = Bench(parts, TESTS)
    found = measure_details(parts, TESTS, [bench.measure(each) for each in one_at_a_time([Role.SYNTHESIZER])])
    assert found.support == ()
    assert [each.configuration for each in found.judges] == ["base chain"]
