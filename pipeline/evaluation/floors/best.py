"""The best floor of each metric, and what a system is worth against it.

The best floor is chosen by its mean on the very items of the test. The largest of several means is too high by chance if
anything, so this favours the floor: an adapter that is better than the best floor is better than each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from lorag.pipeline.evaluation import answers as answer_metrics
from lorag.pipeline.evaluation import rewrites as rewrite_metrics
from lorag.pipeline.evaluation.ablation import Configuration, Measured, TooFew, difference, interval, mean
from lorag.pipeline.evaluation.judge_metrics import TASKS_F1, task_f1, task_of, tasks_of
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.latency import LATENCY
from lorag.pipeline.evaluation.report.records import Floor, FloorComparison
from lorag.pipeline.evaluation.scores import ScoreTable

WITHOUT_FLOOR: Mapping[str, str] = {
    answer_metrics.RIGHT_REFUSALS: "always refusing reaches 1, so alone it says nothing: read it with wrong refusals",
    answer_metrics.WRONG_REFUSALS: "never refusing reaches 0, so alone it says nothing: read it with right refusals",
    answer_metrics.SUPPORTED: "a sentence copied from its passage is always supported",
    answer_metrics.WORDS: "a length is neither good nor bad",
    LATENCY: "a system without a model takes no time",
    rewrite_metrics.HARM: "the unchanged question does no harm, by definition",
}
"""The metrics in which no floor is worth a comparison, and why."""


BEST_OF_TASKS = "best floor of each task"


def best_floors(
    floors: Sequence[Measured], metrics: Sequence[str], lower_is_better: Collection[str]
) -> dict[str, tuple[Measured, Floor]]:
    """Metric → the floor with the best mean, and its figure. A metric in `WITHOUT_FLOOR`, or that no floor has, is absent.

    Of equally good floors the first is taken. That of the mean over judge tasks is `best_of_tasks`.
    """
    systems, found = [*floors, *best_of_tasks(floors)], dict[str, tuple[Measured, Floor]]()
    for metric in metrics:
        if metric in WITHOUT_FLOOR:
            continue
        sign = -1 if metric in lower_is_better else 1
        known = [(each, floor) for each in systems if (floor := floor_of(each, metric)) is not None]
        if metric == TASKS_F1:
            known = known[-1:]  # others are no better in any task, and some have labels for a few tasks only
        if known:
            found[metric] = max(known, key=lambda pair: sign * pair[1].value)
    return found


def best_of_tasks(floors: Sequence[Measured]) -> tuple[Measured, ...]:
    """One system that judges each task by the floor with the best macro-F1 in it. Empty if no floor has a label."""
    chosen: dict[str, Sequence[Judged]] = {}
    for task in dict.fromkeys(task for each in floors for task in tasks_of(each.judgments)):
        metric = task_f1(task)
        known = [(value, each) for each in floors if (value := mean(each, metric)) is not None]
        best = max(known, key=lambda pair: pair[0])[1]
        chosen[task] = [item for item in best.judgments if task_of(item) == task]
    judgments = tuple(item for items in chosen.values() for item in items)
    nothing = ScoreTable(())
    return (Measured(Configuration(BEST_OF_TASKS, frozenset()), nothing, nothing, nothing, judgments, {}),) if judgments else ()


def floor_of(measured: Measured, metric: str) -> Floor | None:
    """A floor's figure, with its interval if it has enough groups of items; None if it was not measured by the metric."""
    name, value = measured.configuration.name, mean(measured, metric)
    if value is None:
        return None
    found = interval(measured, metric)
    if found is None:
        return Floor(metric, name, value)
    return Floor(metric, name, found.value, found.low, found.high, found.n, found.groups)


def against_floor(
    role: str, metric: str, floor: Measured, tuned: Measured, lower_is_better: Collection[str], level: float = 0.95
) -> FloorComparison:
    """The paired difference of a system and a floor with its interval at `level`, and whether that shows the system to be better.

    Raises TooFew.
    """
    try:
        before, after, found = difference(floor, tuned, metric, level)
    except TooFew as error:
        raise TooFew(f"{role} by {metric} against its floor: {error}") from error
    better = found.is_shown and (found.high < 0 if metric in lower_is_better else found.low > 0)
    name = floor.configuration.name
    return FloorComparison(
        role, metric, name, before, after, found.value, found.low, found.high, found.n, found.groups, better, found.level
    )
