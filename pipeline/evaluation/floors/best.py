"""The best floor of each metric, and what a system is worth against it.

The best floor is chosen by its mean on the very items of the test. The largest of several means is too high by chance if
anything, so this favours the floor: an adapter that is better than the best floor is better than each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from lorag.pipeline.evaluation import answers as answer_metrics
from lorag.pipeline.evaluation import rewrites as rewrite_metrics
from lorag.pipeline.evaluation.ablation import Measured, TooFew, difference, interval, mean
from lorag.pipeline.evaluation.report.records import Floor, FloorComparison

WITHOUT_FLOOR: Mapping[str, str] = {
    answer_metrics.RIGHT_REFUSALS: "always refusing reaches 1, so alone it says nothing: read it with wrong refusals",
    answer_metrics.WRONG_REFUSALS: "never refusing reaches 0, so alone it says nothing: read it with right refusals",
    answer_metrics.SUPPORTED: "a sentence copied from its passage is always supported",
    answer_metrics.WORDS: "a length is neither good nor bad",
    rewrite_metrics.HARM: "the unchanged question does no harm, by definition",
}
"""The metrics in which no floor is worth a comparison, and why."""


def best_floors(
    floors: Sequence[Measured], metrics: Sequence[str], lower_is_better: Collection[str]
) -> dict[str, tuple[Measured, Floor]]:
    """Metric → the floor with the best mean, and its figure. A metric in `WITHOUT_FLOOR`, or that no floor has, is absent.

    Of equally good floors the first is taken.
    """
    found: dict[str, tuple[Measured, Floor]] = {}
    for metric in metrics:
        if metric in WITHOUT_FLOOR:
            continue
        sign = -1 if metric in lower_is_better else 1
        known = [(each, floor) for each in floors if (floor := floor_of(each, metric)) is not None]
        if known:
            found[metric] = max(known, key=lambda pair: sign * pair[1].value)
    return found


def floor_of(measured: Measured, metric: str) -> Floor | None:
    """A floor's figure, with its interval if it has enough groups of items; None if it was not measured by the metric."""
    name, value = measured.configuration.name, mean(measured, metric)
    if value is None:
        return None
    found = interval(measured, metric)
    if found is None:
        return Floor(metric, name, value)
    return Floor(metric, name, found.value, found.low, found.high, found.n, found.groups)


def against_floor(role: str, metric: str, floor: Measured, tuned: Measured, lower_is_better: Collection[str]) -> FloorComparison:
    """The paired difference of a system and a floor, and whether the system is shown to be better. Raises TooFew."""
    try:
        before, after, found = difference(floor, tuned, metric)
    except TooFew as error:
        raise TooFew(f"{role} by {metric} against its floor: {error}") from error
    better = found.high < 0 if metric in lower_is_better else found.low > 0
    name = floor.configuration.name
    return FloorComparison(role, metric, name, before, after, found.value, found.low, found.high, found.n, found.groups, better)
