"""A table of scores: one row per item, with the metrics for which it has a value.

It keeps per-item values, so that any two systems can be compared item by item. A missing value is absent: never zero, never a
guess. It knows no particular metric.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.groups import SHARE, Range
from lorag.pipeline.records import Outcome


@dataclass(frozen=True, slots=True)
class ItemScores:
    """The scores of one item. Items of one `group` (document, conversation) are not independent; it is the item's id if there
    is none."""

    id: str
    group: str
    outcome: Outcome
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and the number of items it is over."""

    value: float
    n: int


@dataclass(frozen=True, slots=True)
class Paired:
    """One metric of two systems on the items with a value in both."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    base: tuple[float, ...]
    tuned: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The scores of one system over a set of items, in their order. `ranges` are those of metrics that are no shares."""

    items: tuple[ItemScores, ...]
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def range_of(self, metric: str) -> Range:
        """The values that the metric can have: 0 to 1 unless `ranges` says otherwise."""
        return self.ranges.get(metric, SHARE)

    def values(self, metric: str) -> dict[str, float]:
        """Item id → value, of the items that have one."""
        return {item.id: item.values[metric] for item in self.items if metric in item.values}

    def only(self, ids: Collection[str]) -> ScoreTable:
        """The table of these items alone."""
        return replace(self, items=tuple(item for item in self.items if item.id in ids))

    def groups(self, metric: str) -> tuple[str, ...]:
        """The group of each item of `values(metric)`, in its order."""
        return tuple(item.group for item in self.items if metric in item.values)

    def means(self) -> dict[str, Mean]:
        """Metric → mean over the items that have a value of it; a metric that no item has is absent."""
        columns: dict[str, list[float]] = {}
        for item in self.items:
            for metric, value in item.values.items():
                columns.setdefault(metric, []).append(value)
        return {metric: Mean(sum(values) / len(values), len(values)) for metric, values in columns.items()}

    def ids(self, outcome: Outcome) -> tuple[str, ...]:
        """The items with this outcome, e.g. `ids(Outcome.FAILED)`."""
        return tuple(item.id for item in self.items if item.outcome is outcome)


def pair(base: ScoreTable, tuned: ScoreTable, metric: str) -> Paired:
    """Pair one metric of two systems by item. Raises InputError if the items differ."""
    if {item.id for item in base.items} != {item.id for item in tuned.items}:
        raise InputError("the two systems were not scored on the same items; evaluate both on one test set")
    before, after = base.values(metric), tuned.values(metric)
    shared = [item for item in base.items if item.id in before and item.id in after]
    return Paired(
        ids=tuple(item.id for item in shared),
        groups=tuple(item.group for item in shared),
        base=tuple(before[item.id] for item in shared),
        tuned=tuple(after[item.id] for item in shared),
    )


def require_unique(ids: tuple[str, ...], what: str) -> None:
    """Raises InputError for a repeated id: its scores would be ambiguous."""
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            raise InputError(f"{what} {each!r} stands twice; ids must be unique")
        seen.add(each)
