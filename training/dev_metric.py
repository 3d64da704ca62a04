"""Dev metrics of a generation role during training, by the stages and metrics of the evaluation.

A `DevSet` (`training.early_stopping`) holds items and the name of the metric that decides. A failed item has no value: it is left
out of every figure and counted as `failed`. Knows no trainer, only an engine and the name of an adapter.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lorag.pipeline.contracts.judge import LabelSchema
from lorag.pipeline.engine.protocol import Engine
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.evaluation import answers as answer_metrics
from lorag.pipeline.evaluation import rewrites as rewrite_metrics
from lorag.pipeline.evaluation.answers import GoldAnswer, score_answers
from lorag.pipeline.evaluation.judge_metrics import MACRO_F1, task_f1
from lorag.pipeline.evaluation.judgments import JudgeScores, judged, score_judgments
from lorag.pipeline.evaluation.rewrites import GoldRewrite, score_rewrites
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Answer, Hit, Outcome, Query, Rewrite, Role, Verdict
from lorag.pipeline.stages import Judge, Rewriter, Synthesizer
from lorag.training.data.rows import JudgeRow, PassageRow, QuestionRow, RewriteRow
from lorag.training.early_stopping import FAILED, metric_of, require_dev_rows
from lorag.training.examples import as_shown, gold_passages, search_text, shown_passages
from lorag.training.passage_search import as_passage

ANSWERED = "F1 with citations"
ACCURACY = "accuracy"
UNPARSED = "unparsed"
"""The figure that counts replies not in the role's format. Each metric decides how to score them."""

METRICS: Mapping[Role, tuple[str, ...]] = {
    Role.REWRITER: (rewrite_metrics.ROUGE_1, rewrite_metrics.EM),
    Role.SYNTHESIZER: (ANSWERED, answer_metrics.F1, answer_metrics.EM),
    Role.JUDGE: (MACRO_F1, ACCURACY),
}
"""The metrics that may decide early stopping, the role's default first."""

SHOWN_ANSWERS = (
    answer_metrics.F1,
    answer_metrics.EM,
    answer_metrics.CITATION_PRECISION,
    answer_metrics.CITATION_RECALL,
    answer_metrics.RIGHT_REFUSALS,
)
"""Further figures of answers, reported if any item has a value of them."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RewriteDev:
    """Turns with history and their gold rewrites."""

    rows: tuple[RewriteRow, ...]
    metric: str = rewrite_metrics.ROUGE_1

    def measure(self, engine: Engine, adapter: str) -> dict[str, float]:
        found = Rewriter(engine, adapter).rewrite([Query(row.question, row.history) for row in self.rows])
        golds = [GoldRewrite(row.id, row.question, row.gold) for row in self.rows]
        table = score_rewrites(golds, {gold.id: rewrite for gold, rewrite in zip(golds, found, strict=True)})
        return _with_outcomes(_means(table, METRICS[Role.REWRITER]), self.metric, found)


@dataclass(frozen=True, slots=True)
class AnswerDev:
    """Questions with the passages they are shown with, with the gold ones if they are answerable."""

    rows: tuple[QuestionRow, ...]
    shown: Mapping[str, tuple[PassageRow, ...]]
    metric: str = ANSWERED

    def measure(self, engine: Engine, adapter: str) -> dict[str, float]:
        """`F1 with citations` is a mean over the questions that did not fail.

        For an answerable question: half token F1 and half the F1 of its citations; for another: whether it was refused.
        """
        hits = [tuple(Hit(as_passage(row), 1.0) for row in self.shown[question.id]) for question in self.rows]
        found = Synthesizer(engine, adapter).answer([row.standalone or row.question for row in self.rows], hits)
        golds = [GoldAnswer(r.id, r.answers, r.answerable, r.passage_ids if r.answerable else ()) for r in self.rows]
        table = score_answers(golds, {gold.id: answer for gold, answer in zip(golds, found, strict=True)})
        figures = _means(table, SHOWN_ANSWERS)
        if scored := [_answer_figure(item) for item in table.items if item.values]:
            figures[ANSWERED] = sum(scored) / len(scored)
        return _with_outcomes(figures, self.metric, found)


@dataclass(frozen=True, slots=True)
class JudgeDev:
    """Judgments of any tasks; each label is chosen by its probability among those of the schema."""

    rows: tuple[JudgeRow, ...]
    schemas: Mapping[str, LabelSchema]
    metric: str = MACRO_F1

    def measure(self, engine: Engine, adapter: str) -> dict[str, float]:
        """The unweighted mean over the tasks of macro-F1 and of accuracy, and macro-F1 of each; a task without any verdict has
        none."""
        judge, scores = Judge(engine, adapter), dict[str, JudgeScores]()
        found: list[Verdict] = []
        for task in dict.fromkeys(row.task for row in self.rows):
            rows = [row for row in self.rows if row.task == task]
            verdicts = judge.judge(self.schemas[task], [row.inputs for row in rows])
            found += verdicts
            if any(verdict.outcome is Outcome.OK for verdict in verdicts):
                scores[task] = score_judgments([judged(r.id, r.label, v) for r, v in zip(rows, verdicts, strict=True)])
        figures: dict[str, float] = {}
        if scores:
            figures[MACRO_F1] = sum(each.macro_f1 for each in scores.values()) / len(scores)
            figures[ACCURACY] = sum(each.accuracy for each in scores.values()) / len(scores)
            figures |= {task_f1(task): each.macro_f1 for task, each in scores.items()}
        return _with_outcomes(figures, self.metric, found)


def rewrite_dev(rows: Sequence[RewriteRow], items: int, metric: str = "", seed: int = 0) -> RewriteDev:
    """At most `items` of the turns that have a history. Raises TrainingError if there is none, or no such metric."""
    drawn = _sample([row for row in rows if row.history], items, seed)
    return RewriteDev(drawn, metric_of(Role.REWRITER, METRICS[Role.REWRITER], metric))


def judge_dev(
    rows: Sequence[JudgeRow], schemas: Mapping[str, LabelSchema], items: int, metric: str = "", seed: int = 0
) -> JudgeDev:
    """At most `items` judgments, spread evenly over the tasks. Raises TrainingError as `rewrite_dev`."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    chosen: list[JudgeRow] = []
    for place, task in enumerate(tasks):
        share = (items - len(chosen)) // (len(tasks) - place)
        chosen += _sample([row for row in rows if row.task == task], max(1, share), seed)
    return JudgeDev(_sample(chosen, items, seed), schemas, metric_of(Role.JUDGE, METRICS[Role.JUDGE], metric))


def answer_dev(
    rows: Sequence[QuestionRow],
    passages: Mapping[str, PassageRow],
    rankings: Mapping[str, Sequence[str]],
    k: int,
    metric: str = "",
) -> AnswerDev:
    """All of `rows`, each with `k` passages; `rankings` are those of `examples.rank_for`."""
    gold = gold_passages(rows)
    ids = {row.id: shown_passages(row, rankings[row.id], k, gold[search_text(row)]) for row in rows}
    shown = {row.id: tuple(as_shown(row, passages[p]) for p in ids[row.id]) for row in rows}
    return AnswerDev(tuple(rows), shown, metric_of(Role.SYNTHESIZER, METRICS[Role.SYNTHESIZER], metric))


def sample_questions(rows: Sequence[QuestionRow], items: int, seed: int = 0) -> tuple[QuestionRow, ...]:
    """At most `items` questions, drawn at random from `rows`. Raises TrainingError if there is none."""
    return _sample(rows, items, seed)


def _sample(rows: Sequence[T], items: int, seed: int) -> tuple[T, ...]:
    """`items` of the rows at random, in file order."""
    require_dev_rows(rows)
    if len(rows) <= items:
        return tuple(rows)
    return tuple(rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), items)))


def _means(table: ScoreTable, metrics: Iterable[str]) -> dict[str, float]:
    """The mean of each metric over the items that have a value of it; a metric that no item has is absent."""
    means = table.means()
    return {name: means[name].value for name in metrics if name in means}


def _with_outcomes(figures: dict[str, float], metric: str, found: Sequence[Rewrite | Answer | Verdict]) -> dict[str, float]:
    """The figures, with the counts of failed items and of unparsed replies, if there are any.

    Raises TrainingError if the metric that decides has no value, because all of its items failed.
    """
    if metric not in figures:
        error = next((each.error for each in found if each.error is not None), None)
        why = f", such as: {error}" if error else ""
        raise TrainingError(f"dev figure {metric!r} has no value: none of {len(found)} dev items that it is of came back{why}")
    outcomes = Counter(each.outcome for each in found)
    counts = {FAILED: outcomes[Outcome.FAILED], UNPARSED: outcomes[Outcome.UNPARSED]}
    return figures | {name: float(count) for name, count in counts.items() if count}


def _answer_figure(item: ItemScores) -> float:
    """`F1 with citations` of an item that has values."""
    values = item.values
    if answer_metrics.F1 not in values:
        return values[answer_metrics.RIGHT_REFUSALS]
    precision, recall = values.get(answer_metrics.CITATION_PRECISION), values.get(answer_metrics.CITATION_RECALL)
    if precision is None or recall is None:
        return values[answer_metrics.F1]
    cited = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return (values[answer_metrics.F1] + cited) / 2
