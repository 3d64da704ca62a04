"""Adapters of one role on the same held-out items: the scores of each, and the differences between two.

A task is a set of items: invented ones, which are always available, and the test rows of a data folder. Every adapter of one
engine gets the same items, the bare base in its plain prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lorag.pipeline.adapters.evidence import BARE_BASE, Against, DataOrigin, Evidence, EvidenceData, EvidenceKind
from lorag.pipeline.engine.layer import Layer
from lorag.pipeline.engine.memo import Memo
from lorag.pipeline.engine.protocol import Engine
from lorag.pipeline.evaluation import answers, rewrites
from lorag.pipeline.evaluation.ablation import (
    LOWER_IS_BETTER,
    REWRITE_EM,
    Configuration,
    JudgeItem,
    Measured,
    RewriteItem,
    TooFew,
    difference,
    evidence_of,
)
from lorag.pipeline.evaluation.judge_metrics import MACRO_F1
from lorag.pipeline.evaluation.judgments import judged
from lorag.pipeline.evaluation.scores import ScoreTable
from lorag.pipeline.records import Role
from lorag.pipeline.stages import Judge, Rewriter, Synthesizer
from lorag.training.dataset import DataFolder
from lorag.training.transfer.held_out import (
    GroundedItem,
    folder_judgments,
    folder_questions,
    folder_turns,
    invented_items,
    invented_judgments,
    invented_turns,
)

METRICS: Mapping[Role, tuple[str, ...]] = {
    Role.SYNTHESIZER: (
        answers.F1,
        answers.EM,
        answers.CITATION_PRECISION,
        answers.CITATION_RECALL,
        answers.RIGHT_REFUSALS,
        answers.WRONG_REFUSALS,
    ),
    Role.REWRITER: (rewrites.ROUGE_1, REWRITE_EM, rewrites.ENTITY_RECALL, rewrites.HARM),
    Role.JUDGE: (MACRO_F1,),
}
"""The metrics of each role, the leading one first. All judgments of one set here are of one judge task."""


ITEMS = 60
"""Items of a task, unless the caller says."""

_NOTHING = ScoreTable(())


@dataclass(frozen=True, slots=True)
class Task:
    """Items of one kind under a name that gives their source."""

    name: str
    origin: DataOrigin = DataOrigin.HUMAN
    answered: tuple[GroundedItem, ...] = ()
    rewritten: tuple[RewriteItem, ...] = ()
    judged: tuple[JudgeItem, ...] = ()

    @property
    def items(self) -> int:
        return len(self.answered) + len(self.rewritten) + len(self.judged)


def tasks(role: Role, count: int = ITEMS, folder: DataFolder | None = None) -> list[Task]:
    """The tasks of a role, about `count` items each: the test rows of `folder`, if one is given, then the invented ones.

    Raises DataError if the folder has no test rows of the role.
    """
    return [*(_folder_tasks(role, count, folder) if folder else ()), *_invented_tasks(role, count)]


def _folder_tasks(role: Role, count: int, folder: DataFolder) -> list[Task]:
    name, origin = folder.folder.name, folder.origin("test", role)
    if role is Role.SYNTHESIZER:
        return [Task(name, origin, answered=tuple(folder_questions(folder, count)))]
    if role is Role.REWRITER:
        return [Task(name, origin, rewritten=tuple(folder_turns(folder, count)))]
    judged = folder_judgments(folder, count).items()
    return [Task(f"{task}, {name}", origin, judged=tuple(items)) for task, items in judged]


def _invented_tasks(role: Role, count: int) -> list[Task]:
    origin = DataOrigin.MADE
    if role is Role.SYNTHESIZER:
        return [Task("invented documents", origin, answered=tuple(invented_items(count)))]
    if role is Role.REWRITER:
        return [Task("invented conversations", origin, rewritten=tuple(invented_turns(count)))]
    judged = invented_judgments(count).items()
    return [Task(f"{task}, invented documents", origin, judged=tuple(items)) for task, items in judged]


def measure(engine: Engine, adapter: str | None, task: Task) -> Measured:
    """Run every item of the task with the resident `adapter` or the bare base, and score the replies."""
    empty = Measured(Configuration(adapter or "base", frozenset()), _NOTHING, _NOTHING, _NOTHING, (), {})
    if task.answered:
        items = task.answered
        replies = Synthesizer(engine, adapter).answer([item.question for item in items], [item.hits for item in items])
        by_id = {item.gold.id: reply for item, reply in zip(items, replies, strict=True)}
        return replace(empty, answers=answers.score_answers([item.gold for item in items], by_id))
    if task.rewritten:
        found = Rewriter(engine, adapter).rewrite([item.query for item in task.rewritten])
        golds = [item.gold for item in task.rewritten]
        by_gold = {gold.id: rewrite for gold, rewrite in zip(golds, found, strict=True)}
        return replace(empty, rewrites=rewrites.score_rewrites(golds, by_gold))
    judge = Judge(engine, adapter)
    verdicts = [judge.judge(item.schema, [item.inputs])[0] for item in task.judged]  # each may have its own schema
    pairs = zip(task.judged, verdicts, strict=True)
    return replace(empty, judgments=tuple(judged(item.id, item.label, verdict, item.group) for item, verdict in pairs))


def differences(
    role: Role,
    task: Task,
    first: Measured,
    second: Measured,
    *,
    against: Against = BARE_BASE,
    kind: EvidenceKind = EvidenceKind.HELD_OUT,
) -> list[Evidence]:
    """Second − first by each metric of the role, paired item by item. Evidence names the first as `against`.

    A metric with too few items is left out.
    """
    found = []
    for metric in METRICS[role]:
        try:
            figures = difference(first, second, metric)
        except TooFew:
            continue
        name = f"{metric} (lower is better)" if metric in LOWER_IS_BETTER else metric
        found.append(evidence_of(figures, name, EvidenceData(task.name, "", task.origin), against, kind))
    return found


def compare(
    engine: Engine,
    role: Role,
    first: str | None,
    second: str | None,
    chosen: Sequence[Task],
    on_progress: Callable[[int, int], None] | None = None,
    *,
    against: Against = BARE_BASE,
    kind: EvidenceKind = EvidenceKind.HELD_OUT,
) -> tuple[Evidence, ...]:
    """The differences of two resident adapters (None: the bare base) over all tasks; `on_progress` counts requests.

    Evidence names the first as `against`.
    """
    done, total = 0, 2 * sum(task.items for task in chosen)

    def count(requests: int) -> None:
        nonlocal done
        done = min(total, done + requests)
        if on_progress is not None:
            on_progress(done, total)

    counted = Layer(engine, Memo(count))
    found: list[Evidence] = []
    for task in chosen:
        before, after = measure(counted, first, task), measure(counted, second, task)
        found += differences(role, task, before, after, against=against, kind=kind)
    return tuple(found)
