"""Texts longer than an encoder reads at once, cut into overlapping windows. Knows no model but its tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

MOST = 16
"""Windows of a text, at most: what comes after them is not read. 16 of 256 tokens are about 16,000 characters of English."""

OVERLAP = 8
"""One token in so many stands in two windows, so that each is read with words on both sides."""


def windows(tokenizer: Any, texts: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Each text as one window if it has at most `size` tokens, without special ones, else as several; see `cut`.

    `size` 0 is no limit. A tokenizer that does not tell where its tokens stand in the text cuts nothing.
    """
    if size <= 0 or not tokenizer.is_fast:
        return [(text,) for text in texts]
    read = tokenizer(list(texts), add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False)
    return [cut(text, offsets, size) for text, offsets in zip(texts, read["offset_mapping"], strict=True)]


def cut(text: str, offsets: Sequence[tuple[int, int]], size: int) -> tuple[str, ...]:
    """The text in windows of at most `size` tokens; `offsets` are the places of its tokens, (start, end) in characters.

    The windows begin at equal distances and overlap by `size` / `OVERLAP` tokens or more. Half of that may go to a border that
    lies between two words. A text that needs more than `MOST` windows gets the first `MOST`.
    """
    if len(offsets) <= size:
        return (text,)
    overlap = size // OVERLAP
    step, spare = size - overlap, overlap // 2
    count = min(MOST, math.ceil((len(offsets) - overlap) / step))
    last = min(len(offsets) - size, (count - 1) * step)
    found = []
    for number in range(count):
        first = number * last // max(1, count - 1)
        end = first + size
        begin = _between_words(text, offsets, range(first, first + spare + 1)) if number else 0
        stop = offsets[_between_words(text, offsets, range(end, end - spare - 1, -1))][0] if end < len(offsets) else len(text)
        found.append(text[offsets[begin][0] if number else 0 : stop])
    return tuple(found)


def _between_words(text: str, offsets: Sequence[tuple[int, int]], places: range) -> int:
    """The first of `places` whose token begins a word, the first of all if none does."""
    for place in places:
        start = offsets[place][0]
        if text[start : start + 1].isspace() or text[start - 1 : start].isspace():
            return place
    return places[0]
