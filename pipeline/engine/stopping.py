"""Stop texts: cuts a reply at one, and finds how much of an unfinished reply may be shown. Pure text."""

from __future__ import annotations

from collections.abc import Sequence


def cut(text: str, stop: Sequence[str]) -> str:
    """`text` up to the earliest stop text in it."""
    ends = [at for word in stop if word and (at := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text


def settled(text: str, stop: Sequence[str]) -> int:
    """Characters of an unfinished `text` that no stop text can remove: all but a tail with which one could begin."""
    lengths = (size for word in stop for size in range(min(len(word) - 1, len(text)), 0, -1) if text.endswith(word[:size]))
    return len(text) - max(lengths, default=0)
