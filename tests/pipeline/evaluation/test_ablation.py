"""Configurations of the chain over one test set: hand-worked figures, shared work, and what fails left out, not scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lorag.pipeline.contracts.judge import JudgeInputs, LabelSchema
from lorag.pipeline.engine.layer import Layer
from lorag.pipeline.engine.memo import Memo
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import EngineError, InputError
from lorag.pipeline.evaluation.ablation import (
    ALL_ADAPTERS,
    BASE_CHAIN,
    NDCG,
    OWN_METRIC,
    RECALL,
    REWRITE_EM,
    ChainItem,
    Configuration,
    JudgeItem,
    Measured,
    RewriteItem,
    TestSet,
    difference,
    full_factorial,
    interval,
    one_at_a_time,
)
from lorag.pipeline.evaluation.answers import CITATION_RECALL, EM, F1, RIGHT_REFUSALS, WRONG_REFUSALS, GoldAnswer
from lorag.pipeline.evaluation.bench import Bench, Parts
from lorag.pipeline.evaluation.judge_metrics import MACRO_F1
from lorag.pipeline.evaluation.rewrites import ROUGE_1, GoldRewrite
from lorag.pipeline.records import Hit, Outcome, Passage, Query, Role, Speaker, Turn
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.stages import Retriever
from lorag.pipeline.stages.retriever import DEPTH

HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
ROLES = (Role.REWRITER, Role.EMBEDDER, Role.SYNTHESIZER, Role.JUDGE)
ADAPTERS = {Role.REWRITER: "rw", Role.SYNTHESIZER: "syn", Role.JUDGE: "jd"}
COLOUR = LabelSchema("colour", "Is it red?", {"yes": "red", "no": "not red"})
SIZE = LabelSchema("size", "Is it large?", {"yes": "large", "no": "small"})


class Shelf:
    """An index of one-letter passages: what it finds for a question is a string of their letters, best first."""

    def __init__(self, found: Mapping[str, str]) -> None:
        self._found = found
        self.asked: list[str] = []

    def search_many(
        self, questions: Sequence[str], k: int, *, hybrid: bool = True, filter: Filter | None = None, contexts: Sequence[str] = ()
    ) -> list[list[Hit]]:
        self.asked += questions
        return [[self._hit(letter, rank) for rank, letter in enumerate(self._found[q][:k])] for q in questions]

    def _hit(self, letter: str, rank: int) -> Hit:
        text = f"The {letter} is in room four."
        return Hit(Passage(letter, f"{letter}.md", f"docs/{letter}.md", letter, "", text, 0, len(text)), 1 / (rank + 1))


FROZEN = {"where is a?": "ab", "where is b?": "zb", "who was it?": "zy", "what now?": "zyxwvc", "where is c?": "zc"}
TUNED = {**FROZEN, "where is b?": "bz", "where is c?": "cz"}


def item(id_: str, question: str, *gold: str, history: Sequence[Turn] = (), answered: bool = True) -> ChainItem:
    answer = GoldAnswer(id_, ("in room four",) if gold else (), bool(gold), gold, group=f"doc-{id_}")
    return ChainItem(Query(question, tuple(history)), answer, answered=answered)


def judgment(id_: str, schema: LabelSchema, label: str) -> JudgeItem:
    return JudgeItem(id_, schema, JudgeInputs(message=f"{id_} is {label}"), label, group=id_)


TESTS = TestSet(
    chain=(
        item("a", "where is a?", "a"),
        item("b", "where is b?", "b"),
        item("u", "who was it?"),
        item("t", "and c?", "c", history=HISTORY, answered=False),
    ),
    rewrites=(RewriteItem(Query("and c?", HISTORY), GoldRewrite("t", "and c?", ("where is c?",), "t")),),
    judgments=(
        judgment("j1", COLOUR, "yes"),
        judgment("j2", SIZE, "no"),
        judgment("j3", COLOUR, "yes"),
        judgment("j4", COLOUR, "no"),
    ),
)


def reply(request: Generation) -> str:
    """Tuned adapters are right; the base rewrites to `what now?` and answers all with a wrong citation."""
    match request.adapter:
        case "rw":
            return "where is c?"
        case "syn":
            last = request.messages[-1].content
            if "who was it?" in last:
                return "The passages do not say."
            return f"in room four [{1 if '[1] a' in last or '[1] b' in last else 2}]"
    return "what now?" if "Conversation:" in request.messages[-1].content else "in room nine [1]"


def choice_probabilities(request: ChoiceRequest) -> Sequence[float]:
    """The base always takes the first label, the tuned judge the one its message names."""
    wanted = request.choices[0]
    if request.adapter == "jd":
        wanted = next(label for label in request.choices if f"is {label}" in request.messages[-1].content)
    return [0.7 if label == wanted else 0.3 for label in request.choices]


def parts(engine: ScriptedEngine | Layer, frozen: Shelf | None = None, tuned: Shelf | None = None, k: int = 2) -> Parts:
    return Parts(engine, ADAPTERS, Retriever(frozen or Shelf(FROZEN), k=k), Retriever(tuned or Shelf(TUNED), k=k))


def measure(configuration: Configuration, chosen: Parts, tests: TestSet) -> Measured:
    """One configuration alone."""
    return Bench(chosen, tests).measure(configuration)


def measure_all(tests: TestSet = TESTS, engine: ScriptedEngine | None = None) -> dict[str, Measured]:
    with_engine = parts(Layer(engine or ScriptedEngine(reply, scorer=choice_probabilities), Memo()))
    return {each.name: measure(each, with_engine, tests) for each in one_at_a_time(ROLES)}


@pytest.fixture(scope="module")
def measured() -> dict[str, Measured]:
    return measure_all()


def value(found: Measured, metric: str) -> float:
    """A mean without an interval, which takes two groups."""
    table, name = {
        NDCG: (found.retrieval, metric),
        RECALL: (found.retrieval, metric),
        ROUGE_1: (found.rewrites, metric),
        REWRITE_EM: (found.rewrites, "EM"),
    }.get(metric, (found.answers, metric))
    return table.means()[name].value


def test_the_configurations_are_base_each_alone_and_all() -> None:
    assert one_at_a_time((Role.REWRITER, Role.JUDGE)) == (
        Configuration(BASE_CHAIN, frozenset()),
        Configuration("+ rewriter", frozenset({Role.REWRITER})),
        Configuration("+ judge", frozenset({Role.JUDGE})),
        Configuration(ALL_ADAPTERS, frozenset({Role.REWRITER, Role.JUDGE})),
    )
    assert set(OWN_METRIC) == set(ROLES)


SECOND, SIXTH = 1 / math.log2(3), 1 / math.log2(7)
"""DCG of a passage found second and sixth; with one gold passage the ideal is 1."""


@pytest.mark.parametrize(
    ("configuration", "metric", "expected"),
    [
        (BASE_CHAIN, NDCG, (1 + SECOND + SIXTH) / 3),
        (BASE_CHAIN, RECALL, 2 / 3),  # the sixth is out of the first five
        ("+ rewriter", NDCG, (1 + 2 * SECOND) / 3),
        ("+ rewriter", RECALL, 1),
        ("+ embedder", NDCG, (2 + SIXTH) / 3),
        ("+ synthesizer", NDCG, (1 + SECOND + SIXTH) / 3),
        (ALL_ADAPTERS, NDCG, 1),
        (BASE_CHAIN, ROUGE_1, 0),
        ("+ rewriter", ROUGE_1, 1),
        (BASE_CHAIN, REWRITE_EM, 0),
        (ALL_ADAPTERS, REWRITE_EM, 1),
        (BASE_CHAIN, EM, 0),
        (BASE_CHAIN, F1, 2 / 3),  # two of three words
        ("+ synthesizer", EM, 1),
        (BASE_CHAIN, CITATION_RECALL, 1 / 2),
        ("+ embedder", CITATION_RECALL, 1),
        ("+ synthesizer", CITATION_RECALL, 1),
        (BASE_CHAIN, RIGHT_REFUSALS, 0),
        ("+ synthesizer", RIGHT_REFUSALS, 1),
        (ALL_ADAPTERS, WRONG_REFUSALS, 0),
    ],
)
def test_figures(measured: dict[str, Measured], configuration: str, metric: str, expected: float) -> None:
    assert value(measured[configuration], metric) == pytest.approx(expected)


def test_an_adapter_moves_only_what_it_touches(measured: dict[str, Measured]) -> None:
    base = measured[BASE_CHAIN]
    assert measured["+ judge"].answers == measured["+ rewriter"].answers == base.answers  # turns are not answered
    assert measured["+ synthesizer"].retrieval == base.retrieval
    assert measured["+ embedder"].rewrites == base.rewrites
    for other in ("+ rewriter", "+ embedder", "+ synthesizer"):
        assert measured[other].judgments == base.judgments


def test_every_configuration_has_the_same_items_in_the_same_order(measured: dict[str, Measured]) -> None:
    for each in measured.values():
        assert [row.id for row in each.rewrites.items] == ["t"]
        assert [row.id for row in each.retrieval.items] == ["a", "b", "t"]  # nothing is to be found for the unanswerable
        assert [row.id for row in each.answers.items] == list(each.responses) == ["a", "b", "u"]
        assert [row.id for row in each.judgments] == ["j1", "j2", "j3", "j4"]
        assert [row.group for row in each.retrieval.items] == ["doc-a", "doc-b", "doc-t"]
        assert len(each.responses["a"].trace.hits) == 2


def test_labels_of_all_tasks_stand_in_one_macro_f1(measured: dict[str, Measured]) -> None:
    """Always `yes`: `colour: yes` has F1 2·2/(2+3), `colour: no` and both of size 0. Tuned: three classes, all right."""
    base, tuned = measured[BASE_CHAIN], measured["+ judge"]
    assert [(j.gold, j.label) for j in base.judgments[:2]] == [("colour: yes", "colour: yes"), ("size: no", "size: yes")]
    assert base.judgments[1].probabilities == {"size: yes": 0.7, "size: no": 0.3}
    before, after, found = difference(base, tuned, MACRO_F1)
    assert (before, after, found.value) == (pytest.approx(0.2), pytest.approx(1), pytest.approx(0.8))
    assert (found.n, found.groups) == (4, 4)
    alone = interval(tuned, MACRO_F1)
    items = 9 / (1 / 2 + 1 + 1)  # what classes of 2, 1 and 1 items are worth; Student's t of 3 is 3.182
    assert alone is not None and (alone.value, alone.high) == (1, 1)
    assert alone.low == pytest.approx(items / (items + 3.182446**2), rel=1e-6)


def test_what_configurations_share_is_asked_once() -> None:
    # Base and tuned: one rewrite (the turn is asked for in both parts), four judgments. Answers: three questions by each
    # synthesizer, one of them over other passages once the embedder is tuned.
    generations = 2 * 1 + 2 * 4 + 2 * (3 + 1)
    # Settings that a stage is run in: rewriter on or off for the turn, judge on or off for four judgments, and for three
    # answers all eight, or none, each of the three and all.
    for configurations, answerings in ((one_at_a_time(ROLES), 5), (full_factorial(ROLES), 8)):
        engine, told = ScriptedEngine(reply, scorer=choice_probabilities), list[int]()
        frozen, tuned = Shelf(FROZEN), Shelf(TUNED)
        bench = Bench(parts(Layer(engine, Memo(told.append)), frozen, tuned), TESTS)
        every = [bench.measure(each) for each in configurations]
        assert len(engine.requests) == len(set(engine.requests)) == generations
        assert bench.planned(configurations) == sum(told) == 2 * 1 + 2 * 4 + answerings * 3
        assert len(frozen.asked) == len(tuned.asked) == 2 * len(TESTS.chain)  # by the rewriter on and off
        alone = [measure(each, parts(Layer(engine, Memo()), frozen, tuned), TESTS) for each in configurations]
        assert every == alone


def test_what_is_searched_for_is_kept_for_every_question(measured: dict[str, Measured]) -> None:
    searches = measured["+ rewriter"].searches
    assert list(searches) == ["a", "b", "u", "t"]
    assert searches["t"].rewrite.question == "where is c?"
    assert [hit.passage.id for hit in searches["t"].hits] == ["z", "c"]  # k, not the depth of the metrics
    assert searches["a"].hits == measured["+ rewriter"].responses["a"].trace.hits


@pytest.mark.parametrize(("k", "asked"), [(2, DEPTH), (20, 20)])
def test_retrieval_looks_deep_enough_for_its_metrics_and_for_k(k: int, asked: int) -> None:
    depths: list[int] = []

    class Deep(Shelf):
        def search_many(
            self,
            questions: Sequence[str],
            k: int,
            *,
            hybrid: bool = True,
            filter: Filter | None = None,
            contexts: Sequence[str] = (),
        ) -> list[list[Hit]]:
            depths.append(k)
            return super().search_many(questions, k)

    measure(one_at_a_time(())[0], parts(ScriptedEngine(reply, scorer=choice_probabilities), Deep(FROZEN), k=k), TESTS)
    assert depths == [asked]


def test_without_a_tuned_index_the_frozen_one_serves(measured: dict[str, Measured]) -> None:
    only = replace(parts(ScriptedEngine(reply, scorer=choice_probabilities)), tuned=None)
    assert measure(one_at_a_time(ROLES)[2], only, TESTS).retrieval == measured[BASE_CHAIN].retrieval


def fails_on(*marks: str) -> ScriptedEngine:
    """The engine of the other tests, which fails where the last message holds one of `marks`."""

    def refuse(request: Generation | ChoiceRequest) -> None:
        last = request.messages[-1].content
        if any(mark in last for mark in marks):
            raise EngineError("lost")

    def script(request: Generation) -> str:
        refuse(request)
        return reply(request)

    def score(request: ChoiceRequest) -> Sequence[float]:
        refuse(request)
        return choice_probabilities(request)

    return ScriptedEngine(script, scorer=score)


def test_a_failed_answer_is_listed_and_has_no_value() -> None:
    found = measure_all(engine=fails_on("Question: where is b?"))[BASE_CHAIN]
    assert found.answers.ids(Outcome.FAILED) == ("b",)
    assert found.answers.means()[F1].n == 1  # a alone; the unanswerable one has no F1
    assert found.responses["b"].answer.error is not None
    assert "where is b?" in str(found.responses["b"].answer.error)
    assert found.retrieval.means()[NDCG].n == 3


def test_a_failed_judgment_is_listed_and_left_out_of_both_sides() -> None:
    engine = fails_on("j4 is no")
    every = measure_all(engine=engine)
    base, tuned = every[BASE_CHAIN], every["+ judge"]
    assert [(j.id, j.label, j.outcome) for j in base.judgments][3] == ("j4", None, Outcome.FAILED)
    before, after, found = difference(base, tuned, MACRO_F1)  # `colour: yes` 1, size 0 and 0
    assert (before, after, found.n) == (pytest.approx(1 / 3), pytest.approx(1), 3)


def test_after_a_failed_rewrite_nothing_is_searched_or_answered() -> None:
    """No later stage uses the question of a failed rewrite: a figure from the raw one would be a guess."""
    shelf, turn = Shelf(FROZEN), item("t", "and c?", "c", history=HISTORY)
    tests = replace(TESTS, chain=(*TESTS.chain[:3], turn))
    engine = fails_on("Question: and c?")
    found = measure(one_at_a_time(())[0], parts(engine, shelf), tests)
    for table in (found.rewrites, found.retrieval, found.answers):
        assert table.ids(Outcome.FAILED) == ("t",)
    assert found.rewrites.means() == {}
    assert found.retrieval.means()[NDCG].n == 2
    assert shelf.asked == ["where is a?", "where is b?", "who was it?"]
    failed = found.responses["t"]
    assert (failed.answer.text, failed.answer.refused, failed.trace.hits) == ("", False, ())
    assert failed.answer.error is failed.rewrite.error is not None
    assert value(found, F1) == pytest.approx(2 / 3)


def test_with_every_rewrite_failed_no_figure_is_left() -> None:
    tests = TestSet((item("t", "and c?", "c", history=HISTORY),), (), ())
    found = measure(one_at_a_time(())[0], parts(fails_on("and c?")), tests)
    assert (found.retrieval.means(), found.answers.means()) == ({}, {})
    assert found.retrieval.ids(Outcome.FAILED) == ("t",)
    assert interval(found, NDCG) is None


def test_a_difference_is_over_the_items_that_both_have() -> None:
    """`a` fails in the base alone. Tuned − base over b and c is 0 and 1/3 by F1: two groups, which bound nothing."""
    chain = (item("a", "where is a?", "a"), item("b", "where is b?", "b"), item("c", "where is c?", "c"))
    texts = {"a": "in room four [1]", "b": "in room nine [1]", "c": "in room four [1]"}

    def script(request: Generation) -> str:
        letter = request.messages[-1].content.partition("Question: where is ")[2][0]
        if request.adapter == "syn":
            return texts[letter]
        if letter == "a":
            raise EngineError("lost")
        return "in room nine [1]"

    every = measure_all(TestSet(chain, (), ()), ScriptedEngine(script))
    before, after, found = difference(every[BASE_CHAIN], every["+ synthesizer"], F1)
    assert (before, after) == (pytest.approx(2 / 3), pytest.approx(5 / 6))
    assert (found.value, found.low, found.high) == (pytest.approx(1 / 6), -1, 1)
    assert (found.n, found.groups) == (2, 2)


def test_items_of_one_document_are_one_group() -> None:
    chain = tuple(
        replace(each, gold=replace(each.gold, group=group))
        for each, group in zip(TESTS.chain, ("one", "one", "two", "two"), strict=True)
    )
    every = measure_all(replace(TESTS, chain=chain))
    *_, found = difference(every[BASE_CHAIN], every["+ embedder"], NDCG)
    assert (found.n, found.groups) == (3, 2)
    assert found.value == pytest.approx((1 - SECOND) / 3)


def test_a_figure_of_one_group_has_no_interval(measured: dict[str, Measured]) -> None:
    assert interval(measured[BASE_CHAIN], ROUGE_1) is None
    with pytest.raises(InputError, match="at least two independent groups of items, found 1"):
        difference(measured[BASE_CHAIN], measured["+ rewriter"], ROUGE_1)


def test_an_empty_test_set_asks_nothing() -> None:
    engine = ScriptedEngine([])
    found = measure(one_at_a_time(ROLES)[-1], parts(engine), TestSet((), (), ()))
    assert engine.requests == []
    assert (found.answers.items, found.retrieval.items, found.judgments, dict(found.responses)) == ((), (), (), {})
    assert all(interval(found, metric) is None for metric in (NDCG, F1, MACRO_F1, ROUGE_1))


def test_over_real_indexes_each_measurement_is_repeatable(tmp_path: Path) -> None:
    """Documents of one passage each; questions that share their words find them, and the same parts give the same figures."""
    subjects = ("ferry quay morning", "porter key room", "bell night tower")
    for number, words in enumerate(subjects):
        (tmp_path / f"{number}.md").write_text(f"# Paper\n\nAll about {words}.\n", encoding="utf-8")
    frozen, tuned = (Index(ClientStore(":memory:"), HashingEmbedder(name=name)) for name in ("plain", "other"))
    for index in (frozen, tuned):
        index.ingest(tmp_path)
    ids = {passage.document_id: passage.id for passage in frozen.passages()}
    chain = tuple(item(str(n), f"{words}?", ids[f"{n}.md"]) for n, words in enumerate(subjects))
    chosen = Parts(ScriptedEngine(lambda _: "nothing [1]"), ADAPTERS, Retriever(frozen, k=2), Retriever(tuned, k=2))
    for configuration in one_at_a_time((Role.EMBEDDER,)):
        first = measure(configuration, chosen, TestSet(chain, (), ()))
        assert value(first, NDCG) == value(first, RECALL) == value(first, CITATION_RECALL) == 1
        assert measure(configuration, chosen, TestSet(chain, (), ())) == first
