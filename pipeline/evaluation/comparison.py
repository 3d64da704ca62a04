"""Compares two runs item by item: paired differences with intervals and tests, and the items that flipped.

Only items with a value in both runs are compared. Items of one run alone are counted, since they may explain a difference of
means. Knows no files: the report package reads `SavedRun`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import table_of
from lorag.pipeline.evaluation.effects import ROUNDING, Effect, corrected, effect_of
from lorag.pipeline.evaluation.error_analysis import Loss
from lorag.pipeline.evaluation.judge_metrics import figure, is_judge_metric, items_of, label_pairs
from lorag.pipeline.evaluation.report.read import SavedRun
from lorag.pipeline.evaluation.scores import ScoreTable


@dataclass(frozen=True, slots=True)
class Change:
    """An item whose value differs: scores, or 1 and 0 for a right and a wrong label."""

    id: str
    first: float
    second: float


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """Second − first of one metric over `effect.n` shared items; `unshared` items have a value in one run alone."""

    metric: str
    part: str
    first: float
    second: float
    effect: Effect
    changed: tuple[Change, ...]
    unshared: int


@dataclass(frozen=True, slots=True)
class Flips:
    """Ids of answered questions that only one run got right, of `n` in both reports. A question that failed in either run is
    excluded."""

    n: int
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The differences of two runs; p values are corrected over all `metrics`. `other_data` names test files that differ."""

    metrics: tuple[MetricDifference, ...]
    flips: Flips
    other_data: tuple[str, ...]


def compare_runs(first: SavedRun, second: SavedRun, metrics: Sequence[str]) -> RunComparison:
    """Compare two runs on those of `metrics` that both have.

    Raises InputError if they share no metric with at least two independent groups of items.
    """
    found = {}
    for metric in metrics:
        of_labels = is_judge_metric(metric)
        difference = _labels(first, second, metric) if of_labels else _scores(first, second, metric)
        if difference is not None:
            found[metric] = difference
    if not found:
        raise InputError(
            f"{first.path} and {second.path} share no items of at least two documents or conversations; "
            "evaluate both on one test set"
        )
    effects = corrected({metric: each.effect for metric, each in found.items()})
    differences = tuple(
        MetricDifference(metric, each.part, each.first, each.second, effects[metric], each.changed, each.unshared)
        for metric, each in found.items()
    )
    return RunComparison(differences, _flips(first, second), _other_data(first.digests, second.digests))


def _scores(first: SavedRun, second: SavedRun, metric: str) -> MetricDifference | None:
    part, name = table_of(metric)
    nothing = ScoreTable(())
    left, right = first.scores.get(part, nothing), second.scores.get(part, nothing)
    before, after = left.values(name), right.values(name)
    shared = [item for item in left.items if item.id in before and item.id in after]
    groups = [item.group for item in shared]
    if len(set(groups)) < 2:
        return None
    rows = [Change(item.id, before[item.id], after[item.id]) for item in shared]
    effect = effect_of([row.second - row.first for row in rows], groups)
    means = [sum(values) / len(rows) for values in ([row.first for row in rows], [row.second for row in rows])]
    return MetricDifference(metric, part, means[0], means[1], effect, _changed(rows), len(before.keys() ^ after.keys()))


def _labels(first: SavedRun, second: SavedRun, metric: str) -> MetricDifference | None:
    """Judgments with the same id and the same gold label."""
    pairs = label_pairs(metric, first.judgments, second.judgments)
    if len(set(pairs.groups)) < 2:
        return None
    values = [figure(metric, side) or 0.0 for side in (pairs.base, pairs.tuned)]
    both = zip(pairs.base, pairs.tuned, strict=True)
    rows = [Change(b.id, float(b.label == b.gold), float(a.label == a.gold)) for b, a in both]
    unshared = sum(len(items_of(metric, run.judgments)) for run in (first, second)) - 2 * len(rows)
    return MetricDifference(metric, "judgments", values[0], values[1], pairs.effect(), _changed(rows), unshared)


def _changed(rows: Sequence[Change]) -> tuple[Change, ...]:
    return tuple(row for row in rows if abs(row.second - row.first) > ROUNDING)


def _flips(first: SavedRun, second: SavedRun) -> Flips:
    both = [id_ for id_, each in first.questions.items() if each.answered and id_ in second.views]
    shared = [id_ for id_ in both if Loss.FAILED not in (first.views[id_].lost_at, second.views[id_].lost_at)]
    right = {id_: (first.views[id_].lost_at is Loss.RIGHT, second.views[id_].lost_at is Loss.RIGHT) for id_ in shared}
    return Flips(
        len(shared),
        gained=tuple(id_ for id_, sides in right.items() if sides == (False, True)),
        lost=tuple(id_ for id_, sides in right.items() if sides == (True, False)),
    )


def _other_data(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[str, ...]:
    names = sorted(name for name in first.keys() | second.keys() if name.startswith("test/"))
    return tuple(name for name in names if first.get(name) != second.get(name))
