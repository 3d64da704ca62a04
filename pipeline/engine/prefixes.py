"""What prompts of a batch have in common at their beginning, so that it is read once. Knows token ids and names of adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST = 16
"""Tokens that a common beginning has at least."""

PART = 0.5
"""The part of the shorter prompt that a common beginning makes up at least: all prompts begin with the same few tokens."""

WORTH = 0.75
"""Of the padded tokens of a batch, the largest part that reading in two steps may have to be worth it."""

Prompt = tuple[Sequence[int], str]
"""Token ids, and the adapter that reads them."""


@dataclass(frozen=True, slots=True)
class SharedPrefixes:
    """The beginnings to read first; for each prompt the place of its beginning in `prefixes`, and the tokens that follow."""

    prefixes: tuple[Prompt, ...]
    places: tuple[int, ...]
    rest: tuple[Sequence[int], ...]


def alike(prompts: Sequence[Prompt]) -> list[list[int]]:
    """The places of prompts in groups that begin alike, each group in order. Most prompts are a group of their own."""
    ranked = sorted(range(len(prompts)), key=lambda at: (prompts[at][1], tuple(prompts[at][0]), at))
    groups: list[list[int]] = []
    for at in ranked:
        if groups and _is_alike(prompts[groups[-1][0]], prompts[at]):
            groups[-1].append(at)
        else:
            groups.append([at])
    return sorted(sorted(group) for group in groups)


def shared_prefixes(prompts: Sequence[Prompt]) -> SharedPrefixes | None:
    """The longest common beginnings of prompts that begin alike, if that saves enough; else None.

    At least one token of each prompt is left to follow. A prompt that shares nothing is its own beginning.
    """
    groups = alike(prompts)
    if len(groups) == len(prompts):
        return None
    prefixes, places, cuts = list[Prompt](), [0] * len(prompts), [0] * len(prompts)
    for members in groups:
        ids, adapter = prompts[members[0]]
        cut = min(min(_common(ids, prompts[at][0]), len(prompts[at][0]) - 1) for at in members)
        for at in members:
            places[at], cuts[at] = len(prefixes), cut
        prefixes.append((ids[:cut], adapter))
    rest = tuple(ids[cut:] for (ids, _), cut in zip(prompts, cuts, strict=True))
    read = _padded([ids for ids, _ in prefixes]) + _padded(rest)
    if min(cuts) < 1 or read > WORTH * _padded([ids for ids, _ in prompts]):
        return None
    return SharedPrefixes(tuple(prefixes), tuple(places), rest)


def _is_alike(one: Prompt, other: Prompt) -> bool:
    common = _common(one[0], other[0])
    return one[1] == other[1] and common >= LEAST and common >= PART * min(len(one[0]), len(other[0]))


def _common(ids: Sequence[int], others: Sequence[int]) -> int:
    return next(
        (at for at, (one, other) in enumerate(zip(ids, others, strict=False)) if one != other), min(len(ids), len(others))
    )


def _padded(rows: Sequence[Sequence[int]]) -> int:
    """Tokens of the rows as a batch."""
    return len(rows) * max(map(len, rows))
