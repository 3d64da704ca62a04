"""Citation marks in a reply: `[1]`, `[1][2]`, `[1, 2]`, `[1-3]`, `[1–3]`, `[1 and 2]`, `[passage 1]`, `[see 1]`, `[source: 1]`,
`【1】`. Pure text.

A mark names passages by the numbers they were shown with. Whether such a passage was shown is for the caller to check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DASH = r"(?:[-‐‑‒–—−]|\bto\b)"
_NAME = r"(?:(?:see|cf\.?|from)\s+)?(?:(?:passage|source|document|doc|ref|reference|citation)s?(?:\.|:)?\s+|no\.\s*|[#^])?"
_ITEM = rf"{_NAME}\d{{1,3}}(?:\s*{_DASH}\s*\d{{1,3}})?"
_MARK = re.compile(rf"\s*[\[【［]\s*({_ITEM}(?:\s*(?:,\s*and\b|[,;&]|\band\b)\s*{_ITEM})*)\s*[\]】］]", re.IGNORECASE)
_NUMBERS = re.compile(rf"(\d+)(?:\s*{_DASH}\s*(\d+))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark at `start:end` of the reply, white space before it included, and the passages it names in order."""

    start: int
    end: int
    numbers: tuple[int, ...]


def find_marks(reply: str) -> tuple[Mark, ...]:
    """The marks of `reply`, in order. A range names every passage from its lower to its higher end."""
    return tuple(Mark(found.start(), found.end(), _numbers(found.group(1))) for found in _MARK.finditer(reply))


def cited_numbers(reply: str) -> tuple[int, ...]:
    """The passages that `reply` names, each once, in order of mention; also those that were never shown."""
    return tuple(dict.fromkeys(number for mark in find_marks(reply) for number in mark.numbers))


def without_marks(reply: str) -> str:
    """`reply` without its marks and the white space before them."""
    return _MARK.sub("", reply)


def _numbers(listed: str) -> tuple[int, ...]:
    found: list[int] = []
    for low, high in _NUMBERS.findall(listed):
        ends = sorted((int(low), int(high or low)))
        found += range(ends[0], ends[1] + 1)
    return tuple(found)
