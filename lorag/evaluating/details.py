"""The details of an evaluation outside its table: retrieval by rewrite, the judge in full, support of answers, failures.

Measures with the engine and the index of the run while they are open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from lorag.evaluating.reader_figures import refusals_of
from lorag.pipeline.contracts.judge import SUPPORT
from lorag.pipeline.evaluation.ablation import ALL_ADAPTERS, BASE_CHAIN, Measured, TestSet, TooFew
from lorag.pipeline.evaluation.alce import AlceScores, ByJudge, ByWords, Entailment, alce_scores
from lorag.pipeline.evaluation.bench import Parts
from lorag.pipeline.evaluation.conversations import ConversationScores, conversation_scores
from lorag.pipeline.evaluation.floors.best import against_floor, best_floors
from lorag.pipeline.evaluation.journal import Usage
from lorag.pipeline.evaluation.judge_evaluation import SupportVerdicts, judge_answers, write_freely
from lorag.pipeline.evaluation.judge_metrics import task_f1, task_of, tasks_of
from lorag.pipeline.evaluation.judgments import JudgeScores, score_judgments
from lorag.pipeline.evaluation.refusal_scores import RefusalScores
from lorag.pipeline.evaluation.rewrite_retrieval import RewriteRetrieval, compare_rewrites
from lorag.pipeline.records import Outcome, Role


@dataclass(frozen=True, slots=True)
class JudgeDetail:
    """A judge in full on one task, and the share of its freely generated replies that are exactly a label (None: nothing was
    generated).

    `floor` is the name of the task's best floor by macro-F1, with its figure; empty and None if none was measured. `beaten`: a
    paired difference shows the judge to be better. If not, its labels in this task are no verdicts.
    """

    configuration: str
    task: str
    scores: JudgeScores | None
    written_in_format: float | None
    floor: str = ""
    floor_f1: float | None = None
    beaten: bool = False


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The items of one stage that are not ok, by id. Unparsed answers and rewrites are scored, failed ones are not."""

    configuration: str
    stage: str
    items: int
    unparsed: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Details:
    rewrites: RewriteRetrieval = RewriteRetrieval()
    judges: tuple[JudgeDetail, ...] = ()
    support: tuple[SupportVerdicts, ...] = ()
    refusals: tuple[RefusalScores, ...] = ()
    alce: tuple[AlceScores, ...] = ()
    conversations: tuple[ConversationScores, ...] = ()
    outcomes: tuple[Outcomes, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "rewrites": asdict(self.rewrites),
            "judges": [asdict(each) for each in self.judges],
            "support": [asdict(each) for each in self.support],
            "refusals": [asdict(each) for each in self.refusals],
            "alce": [asdict(each) for each in self.alce],
            "conversations": [asdict(each) for each in self.conversations],
            "outcomes": [asdict(each) for each in self.outcomes],
        }


def planned_details(tests: TestSet, roles: Sequence[Role]) -> int:
    """The requests that `measure_details` makes if every answer is one sentence with one citation; about that otherwise."""
    answered = sum(item.answered for item in tests.chain)
    return (4 * answered + 2 * len(tests.judgments)) if Role.JUDGE in roles else len(tests.judgments)


def measure_details(parts: Parts, tests: TestSet, measured: Sequence[Measured], floors: Sequence[Measured] = ()) -> Details:
    """Measure the details. `measured` are the base chain, each adapter alone and all of them, `floors` the systems without
    training."""
    by_name = {each.configuration.name: each for each in measured}
    alone = [by_name[name] for name in (BASE_CHAIN, f"+ {Role.REWRITER.value}") if name in by_name]
    judges = [by_name[name] for name in (BASE_CHAIN, f"+ {Role.JUDGE.value}") if name in by_name]
    ends = [by_name[name] for name in (BASE_CHAIN, ALL_ADAPTERS) if name in by_name]
    judged = tuple(found for each in judges for found in _judge(parts, tests, each, floors)) if tests.judgments else ()
    return Details(
        rewrites=compare_rewrites(tests.chain, alone, parts.frozen),
        judges=judged,
        support=_support(parts, ends, judges[-1], judged),
        refusals=refusals_of(tests, measured),
        alce=_alce(parts, ends),
        conversations=_conversations(tests, measured),
        outcomes=tuple(found for each in measured for found in _outcomes(each)),
    )


def _conversations(tests: TestSet, measured: Sequence[Measured]) -> tuple[ConversationScores, ...]:
    if not any(item.answered and item.conversation for item in tests.chain):
        return ()
    return tuple(conversation_scores(tests.chain, each) for each in measured)


def _alce(parts: Parts, ends: Sequence[Measured]) -> tuple[AlceScores, ...]:
    """Citations of the base chain and of all adapters: by words, the floor, and by the judge adapter if there is one."""
    models: list[Entailment] = [ByWords()]
    if Role.JUDGE in parts.adapters:
        models.append(ByJudge(parts.judge(frozenset({Role.JUDGE}))))
    answered = [each for each in ends if each.responses]
    return tuple(alce_scores(each.configuration.name, each.responses, model) for each in answered for model in models)


def _judge(parts: Parts, tests: TestSet, measured: Measured, floors: Sequence[Measured]) -> list[JudgeDetail]:
    """A detail for each task."""
    best = best_floors(floors, [task_f1(task) for task in tasks_of(measured.judgments)], ())
    judge = parts.judge(measured.configuration.on)
    written = {item.id: item for item in write_freely(parts.engine, judge.adapter, tests.judgments)}
    found = []
    for task in tasks_of(measured.judgments):
        items = [item for item in measured.judgments if task_of(item) == task]
        outcomes = [written[item.id].outcome for item in items]
        read = len(outcomes) - outcomes.count(Outcome.FAILED)
        scores = score_judgments(items) if any(item.label is not None for item in items) else None
        share = outcomes.count(Outcome.OK) / read if read else None
        detail = JudgeDetail(measured.configuration.name, task, scores, share)
        if (floor := best.get(task_f1(task))) is not None:
            beaten = _is_better(measured, floor[0], task_f1(task))
            detail = replace(detail, floor=floor[1].name, floor_f1=floor[1].value, beaten=beaten)
        found.append(detail)
    return found


def _is_better(measured: Measured, floor: Measured, metric: str) -> bool:
    """Whether a paired difference shows `measured` to be better than `floor`; not if there are too few items."""
    with suppress(TooFew):
        return against_floor(Role.JUDGE.value, metric, floor, measured, ()).beaten
    return False


def _support(
    parts: Parts, ends: Sequence[Measured], labelled: Measured, judged: Sequence[JudgeDetail]
) -> tuple[SupportVerdicts, ...]:
    """Verdicts of the judge adapter on the answers of the base chain and of all adapters. `labelled` calibrates the judge, and
    `judged` says whether it is shown to be better than a floor."""
    if Role.JUDGE not in parts.adapters:
        return ()
    judge = parts.judge(frozenset({Role.JUDGE}))
    name = labelled.configuration.name
    proven = any(each.beaten for each in judged if (each.configuration, each.task) == (name, SUPPORT.task))
    return tuple(judge_answers(each, judge, labelled.judgments, proven) for each in ends if each.responses)


def _outcomes(measured: Measured) -> list[Outcomes]:
    stages: Mapping[str, Sequence[tuple[str, Outcome]]] = {
        "rewrite": [(each.id, each.outcome) for each in measured.rewrites.items],
        "synthesize": [(each.id, each.outcome) for each in measured.answers.items],
        "judge": [(each.id, each.outcome) for each in measured.judgments],
    }
    return [
        Outcomes(
            measured.configuration.name,
            stage,
            len(found),
            tuple(id_ for id_, outcome in found if outcome is Outcome.UNPARSED),
            tuple(id_ for id_, outcome in found if outcome is Outcome.FAILED),
        )
        for stage, found in stages.items()
        if found
    ]


def usage_json(usage: Sequence[Usage]) -> list[dict[str, Any]]:
    """Requests, tokens and seconds per request of each stage and adapter."""
    return [{**asdict(each), "latency": each.latency} for each in usage]
