"""Groups of rows that must stay together, and the split of each group.

Rows that share a document or a conversation are one group; a seed draws the split of each. Knows no row.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.errors import InputError

TRAIN, DEV, TEST = "train", "dev", "test"


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


def deal(sizes: Mapping[int, int], shares: Shares, seed: int) -> dict[int, str]:
    """Group → split. In random order, a group goes to test if it fits, then to dev, else to train.

    `sizes` are the rows of each group. Dev and test may get fewer rows than their share, by less than one group.
    """
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    total = sum(sizes.values())
    room = {TEST: shares.test * total, DEV: shares.dev * total}
    split = {}
    for group in order:
        chosen = next((name for name, left in room.items() if sizes[group] <= left), TRAIN)
        split[group] = chosen
        if chosen in room:
            room[chosen] -= sizes[group]
    return split
