"""Groups of rows that must stay together, and the split of each group.

Rows that share a document or a conversation are one group; a seed draws the split of each. Knows no row.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

from lorag.pipeline.errors import InputError

TRAIN, DEV, TEST = "train", "dev", "test"
Group = TypeVar("Group", bound=Hashable)
NOTHING_SETTLED: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of the rows for dev and test, each from 0, together below 1; train gets the rest."""

    dev: float = 0.1
    test: float = 0.2

    def __post_init__(self) -> None:
        if min(self.dev, self.test) < 0 or self.dev + self.test >= 1:
            raise InputError(f"shares dev={self.dev}, test={self.test}: each at least 0, together below 1")


def groups(keys_by_row: Sequence[Iterable[Hashable]]) -> list[int]:
    """For each row the number of its group. Rows that share one of their `keys_by_row` are in one group."""
    parent = list(range(len(keys_by_row)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    first: dict[Hashable, int] = {}
    for row, keys in enumerate(keys_by_row):
        for key in keys:
            one, other = root(row), root(first.setdefault(key, row))
            parent[max(one, other)] = min(one, other)
    return [root(row) for row in range(len(keys_by_row))]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The splits of earlier data, which hold on: what was trained on is never tested on later.

    `splits` gives the split of a conversation, a group or a document by its name. `record` gets all names and their splits before
    the new data is there to be used.
    """

    splits: Mapping[str, str]
    record: Callable[[Mapping[str, str]], None] = lambda splits: None

    def settled(self, names_by_group: Mapping[Group, Iterable[str]]) -> dict[Group, str]:
        """The split of each group that holds an earlier name: train if any of them was in train, else dev, else test."""
        found = {group: {self.splits[name] for name in names if name in self.splits} for group, names in names_by_group.items()}
        return {group: _most_trained(splits) for group, splits in found.items() if splits}

    def joined(self, more: Mapping[str, str]) -> Earlier:
        """With the splits of further data. A name that is in both is in train if either says so, else in dev, else in test."""
        both = {name: _most_trained({split, self.splits.get(name, split)}) for name, split in more.items()}
        return replace(self, splits={**self.splits, **both})


def _most_trained(splits: set[str]) -> str:
    return next(split for split in (TRAIN, DEV, TEST) if split in splits)


def deal(sizes: Mapping[int, int], shares: Shares, seed: int, settled: Mapping[int, str] = NOTHING_SETTLED) -> dict[int, str]:
    """Group → split. In random order, a group goes to test if it fits, then to dev, else to train; a `settled` one stays.

    `sizes` are the rows of each group. Dev and test may get fewer rows than their share, by less than one group.
    """
    order = sorted(sizes.keys() - settled.keys())
    random.Random(seed).shuffle(order)
    total = sum(sizes.values())
    room = {TEST: shares.test * total, DEV: shares.dev * total}
    split = dict(settled)
    for group, where in settled.items():
        if where in room:
            room[where] -= sizes[group]
    for group in order:
        chosen = next((name for name, left in room.items() if sizes[group] <= left), TRAIN)
        split[group] = chosen
        if chosen in room:
            room[chosen] -= sizes[group]
    return split
