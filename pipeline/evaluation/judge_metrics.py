"""The judge's metrics by task: macro-F1 and accuracy of each task, and the mean of the tasks' macro-F1.

The mean decides. Over the classes of all tasks pooled, a task with many labels would outweigh the others, and perfect intents
hide guesses elsewhere. The judge's dev metric is the same mean. Labels are named `task: label`. A judgment without a label
counts for no metric. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorag.pipeline.adapters.proven_tasks import TASK_F1
from lorag.pipeline.evaluation.effects import Effect, effect_of, macro_f1_effect
from lorag.pipeline.evaluation.groups import Interval
from lorag.pipeline.evaluation.judgments import Judged, score_judgments
from lorag.pipeline.evaluation.label_significance import macro_f1_interval, macro_f1_test
from lorag.pipeline.evaluation.sign_flips import SignFlips
from lorag.pipeline.evaluation.significance import difference_test, mean_interval

TASKS_F1 = "mean task macro-F1"
MACRO_F1 = "macro-F1"
"""Over the classes of all tasks pooled: of a single task, and on cards that an earlier version wrote."""

_F1_OF, _ACCURACY_OF = TASK_F1, "accuracy, "


def task_f1(task: str) -> str:
    """The name of a task's macro-F1."""
    return _F1_OF + task


def task_accuracy(task: str) -> str:
    """The name of a task's accuracy."""
    return _ACCURACY_OF + task


def is_judge_metric(metric: str) -> bool:
    return metric in (TASKS_F1, MACRO_F1) or metric.startswith((_F1_OF, _ACCURACY_OF))


def task_of(judged: Judged) -> str:
    """The task of a judgment; empty if its labels name none."""
    task, colon, _ = judged.gold.partition(": ")
    return task if colon else ""


def tasks_of(judgments: Sequence[Judged]) -> tuple[str, ...]:
    """The tasks, in the order of their first judgments."""
    return tuple(dict.fromkeys(map(task_of, judgments)))


def items_of(metric: str, judgments: Sequence[Judged]) -> list[Judged]:
    """The judgments that a metric is over: those of its task, or all, that have a label."""
    task = metric.removeprefix(_F1_OF).removeprefix(_ACCURACY_OF) if metric not in (TASKS_F1, MACRO_F1) else None
    return [each for each in judgments if each.label is not None and task in (None, task_of(each))]


def figure(metric: str, judgments: Sequence[Judged]) -> float | None:
    """The value of a metric; None if no judgment counts for it."""
    items = items_of(metric, judgments)
    if not items:
        return None
    if metric == TASKS_F1:
        by_task = [score_judgments([item for item in items if task_of(item) == task]).macro_f1 for task in tasks_of(items)]
        return sum(by_task) / len(by_task)
    scores = score_judgments(items)
    return scores.accuracy if metric.startswith(_ACCURACY_OF) else scores.macro_f1


def figure_interval(metric: str, judgments: Sequence[Judged]) -> Interval:
    """The metric with its interval. Raises InputError for fewer than two groups."""
    items = items_of(metric, judgments)
    groups = [item.group for item in items]
    if metric.startswith(_ACCURACY_OF):
        return mean_interval([_is_right(item) for item in items], groups=groups)
    return macro_f1_interval(
        [item.gold for item in items], [str(item.label) for item in items], tasks=_tasks(metric, items), groups=groups
    )


@dataclass(frozen=True, slots=True)
class LabelPairs:
    """The judgments of two systems that count for a metric in both, in one order."""

    metric: str
    base: tuple[Judged, ...]
    tuned: tuple[Judged, ...]

    @property
    def groups(self) -> list[str]:
        return [each.group or each.id for each in self.base]

    def difference(self, level: float = 0.95) -> Interval:
        """tuned − base. Raises InputError for fewer than two groups."""
        return self.test().interval(level)

    def test(self) -> SignFlips:
        """The sign-flip test of `difference`."""
        if self.metric.startswith(_ACCURACY_OF):
            return difference_test(list(map(_is_right, self.base)), list(map(_is_right, self.tuned)), groups=self.groups)
        return macro_f1_test(*self._labels(), tasks=_tasks(self.metric, self.base), groups=self.groups)

    def effect(self) -> Effect:
        """As `difference`, with the test's figures."""
        if self.metric.startswith(_ACCURACY_OF):
            differences = [_is_right(after) - _is_right(before) for before, after in zip(self.base, self.tuned, strict=True)]
            return effect_of(differences, self.groups)
        return macro_f1_effect(*self._labels(), self.groups, tasks=_tasks(self.metric, self.base))

    def _labels(self) -> tuple[list[str], list[str], list[str]]:
        gold = [each.gold for each in self.base]
        return gold, [str(each.label) for each in self.base], [str(each.label) for each in self.tuned]


def label_pairs(metric: str, base: Sequence[Judged], tuned: Sequence[Judged]) -> LabelPairs:
    """Pair the judgments with the same id and the same gold label."""
    after = {each.id: each for each in items_of(metric, tuned)}
    both = [(each, after[each.id]) for each in items_of(metric, base) if each.id in after and after[each.id].gold == each.gold]
    return LabelPairs(metric, tuple(each for each, _ in both), tuple(each for _, each in both))


def _tasks(metric: str, items: Sequence[Judged]) -> list[str] | None:
    return [task_of(item) for item in items] if metric == TASKS_F1 else None


def _is_right(judged: Judged) -> float:
    return float(judged.label == judged.gold)
