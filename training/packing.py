"""Rows packed into dense sequences, with shared prefixes computed once. Knows token ids only.

Rows whose prompts begin alike (several questions on the same passages) become one tree: the common trunk, then a branch a
row. Trees lie side by side in a sequence until it is full. A token sees its trunk and its own branch, at the positions it
would have alone. So the loss of a packed row equals that of the row by itself (a test checks it). There is almost no
padding, and a trunk is read once instead of once a row.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

IGNORED = -100
"""Label of a position that the loss leaves out (the convention of torch's cross entropy)."""

SHARED_TOKENS = 48
"""The shortest prefix for which rows are joined; a shorter trunk saves less than the masks cost."""

Row = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Tree:
    """Rows with a common beginning: `trunk` tokens without targets, then `branches` of (ids, labels)."""

    trunk: tuple[int, ...]
    branches: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    @property
    def tokens(self) -> int:
        return len(self.trunk) + sum(len(ids) for ids, _ in self.branches)


def pack(rows: Sequence[Row], limit: int, seed: int = 0) -> list[dict[str, list[int]]]:
    """Rows (`input_ids`, `labels`) → packed sequences of at most `limit` tokens, in an order drawn with `seed`.

    A longer row is a sequence by itself. A sequence has `input_ids`, `labels`, `position_ids`, and for each token the number of
    its `tree` and of its `branch` within the tree, 0 being the trunk.
    """
    trees = [part for tree in _trees(rows) for part in _split(tree, limit)]
    random.Random(seed).shuffle(trees)
    return [_sequence(bin_) for bin_ in _bins(trees, limit)]


def _trees(rows: Sequence[Row]) -> list[Tree]:
    """Rows with a common beginning as trees. Neighbours in the order of their ids join one as long as that saves tokens."""
    trees: list[Tree] = []
    for group in _groups(rows):
        joined = [group[0]]
        tree = _tree(joined)
        for row in group[1:]:
            wider = _tree([*joined, row])
            if wider.tokens < tree.tokens + len(row["input_ids"]):
                joined, tree = [*joined, row], wider
            else:
                trees.append(tree)
                joined, tree = [row], _tree([row])
        trees.append(tree)
    return trees


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows by their first `SHARED_TOKENS` ids, each group in the order of its ids; a row with an earlier target stands alone."""
    groups: dict[tuple[int, ...], list[Row]] = {}
    for number, row in enumerate(rows):
        head = tuple(row["input_ids"][:SHARED_TOKENS])
        whole = len(head) == SHARED_TOKENS and all(label == IGNORED for label in row["labels"][: SHARED_TOKENS + 1])
        groups.setdefault(head if whole else (-1, number), []).append(row)
    return [sorted(group, key=lambda row: list(row["input_ids"])) for group in groups.values()]


def _tree(rows: Sequence[Row]) -> Tree:
    """The rows joined at their longest common beginning that leaves each at least one token before its first target."""
    shared = 0
    if len(rows) > 1:
        free = min(_first_target(row) for row in rows) - 1
        first, *rest = (row["input_ids"] for row in rows)
        while shared < free and all(ids[shared] == first[shared] for ids in rest):
            shared += 1
    branches = tuple((tuple(row["input_ids"][shared:]), tuple(row["labels"][shared:])) for row in rows)
    return Tree(tuple(rows[0]["input_ids"][:shared]), branches)


def _first_target(row: Row) -> int:
    return next(place for place, label in enumerate(row["labels"]) if label != IGNORED)


def _split(tree: Tree, limit: int) -> list[Tree]:
    """The tree as several with the same trunk, if its branches do not fit one sequence."""
    parts: list[Tree] = []
    branches: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    room = limit - len(tree.trunk)
    for branch in tree.branches:
        if branches and sum(len(ids) for ids, _ in branches) + len(branch[0]) > room:
            parts.append(Tree(tree.trunk, tuple(branches)))
            branches = []
        branches.append(branch)
    return [*parts, Tree(tree.trunk, tuple(branches))]


def _bins(trees: Sequence[Tree], limit: int) -> list[list[Tree]]:
    """First fit, in the order given, among the newest bins: dense, and still in random order."""
    bins: list[list[Tree]] = []
    room: list[int] = []
    open_bins = 32
    for tree in trees:
        start = max(0, len(bins) - open_bins)
        place = next((n for n in range(start, len(bins)) if room[n] >= tree.tokens), None)
        if place is None:
            bins.append([])
            room.append(limit)
            place = len(bins) - 1
        bins[place].append(tree)
        room[place] -= tree.tokens
    return bins


def _sequence(trees: Sequence[Tree]) -> dict[str, list[int]]:
    sequence: dict[str, list[int]] = {"input_ids": [], "labels": [], "position_ids": [], "tree": [], "branch": []}

    def add(ids: Sequence[int], labels: Sequence[int], first: int, tree: int, branch: int) -> None:
        sequence["input_ids"] += ids
        sequence["labels"] += [IGNORED, *labels[1:]] if labels else []
        sequence["position_ids"] += range(first, first + len(ids))
        sequence["tree"] += [tree] * len(ids)
        sequence["branch"] += [branch] * len(ids)

    for number, tree in enumerate(trees):
        trunk = len(tree.trunk)
        add(tree.trunk, [IGNORED] * trunk, 0, number, 0)
        for branch, (ids, labels) in enumerate(tree.branches, 1):
            add(ids, labels, trunk, number, branch)
    return sequence


def collate(sequences: Sequence[Row], pad_id: int) -> dict[str, Any]:
    """Packed sequences → tensors of shape (batch, longest), and a boolean `attention_mask` of (batch, 1, longest, longest).

    The mask is true where a token may attend. Padding attends to itself alone, so that no row of the softmax is empty.
    """
    import torch

    longest = max(len(sequence["input_ids"]) for sequence in sequences)

    def padded(name: str, value: int) -> Any:
        rows = [[*sequence[name], *[value] * (longest - len(sequence[name]))] for sequence in sequences]
        return torch.tensor(rows)

    tree, branch = padded("tree", -1), padded("branch", -1)
    causal = torch.ones(longest, longest, dtype=torch.bool).tril()
    same_tree = tree[:, :, None] == tree[:, None, :]
    visible = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    padding = tree == -1
    allowed = (causal & same_tree & visible & ~padding[:, None, :]) | torch.eye(longest, dtype=torch.bool)
    return {
        "input_ids": padded("input_ids", pad_id),
        "labels": padded("labels", IGNORED),
        "position_ids": padded("position_ids", 0),
        "attention_mask": allowed[:, None],
    }
