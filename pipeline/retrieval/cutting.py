"""Cuts a stretch of text that is too long at the best place there is. Knows nothing of documents, blocks or passages.

Clause ends come first, then white space, then the signs at which links, code and data may be broken, then the border between
two characters as a reader sees them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import regex

# Each takes the last place: a greedy start gives back from the end. The blank behind a Latin sign tells `a, b` from `1,000`.
_CLAUSE = re.compile(r".*(?:[;:,–—](?=\s)|[，；：、،؛፣፤၊](?=.))", re.DOTALL)
_CELL = re.compile(r".*\|(?=\s)", re.DOTALL)
_WORD_END = re.compile(r".*\S(?=\s)", re.DOTALL)
_SEPARATOR = re.compile(r".*[,;|/&?)\]}>\u200b་](?=.)", re.DOTALL)
_SIGN = re.compile(r".*[=:.#_\-\\](?=.)", re.DOTALL)
_GRAPHEME = regex.compile(r"\X")
_BLANK, _TEXT = re.compile(r"\s"), re.compile(r"\S")


def cut_long(text: str, low: int, high: int, size: int, *, row: bool = False) -> Iterator[tuple[int, int]]:
    """`text[low:high]` in pieces of at most `size` characters, without white space around them; `row` is one of a table.

    Linear in the length, whatever the text.
    """
    start = low
    while high - start > size:
        end = _end(text, start, high, size, row)
        yield start, end
        following = _TEXT.search(text, end, high)
        if following is None:
            return
        start = following.start()
    yield start, high


def _end(text: str, start: int, high: int, size: int, row: bool) -> int:
    """The end of the piece that begins at `start`: in the second half of what is allowed, except before a word that fits the
    next piece whole."""
    limit, half = start + size, start + size // 2
    for pattern in (_CELL, _CLAUSE) if row else (_CLAUSE,):
        if found := pattern.match(text, half, limit + 1):
            return found.end()
    if word := _WORD_END.match(text, start, limit + 1):
        after = _TEXT.search(text, word.end(), high)
        first = after.start() if after else high
        if first >= limit or min(high, first + size) == high or _BLANK.search(text, limit, first + size + 1):
            return word.end()
    for pattern in (_SEPARATOR, _SIGN):
        if found := pattern.match(text, half, limit + 1):
            return found.end()
    return _grapheme(text, start, limit)


def _grapheme(text: str, start: int, limit: int) -> int:
    """The last border at or before `limit` of what a reader sees as one character (UAX #29); `limit` if there is none after
    `start`, since even a letter with a thousand accents has to be cut."""
    if _is_plain(text[limit - 1]) and _is_plain(text[limit]):
        return limit
    stretch = text[start : limit + 1]  # by place in the whole text, the pattern would look back over all flags before
    ends = [found.end() for found in _GRAPHEME.finditer(stretch) if found.end() < len(stretch)]
    return start + ends[-1] if ends else limit


def _is_plain(character: str) -> bool:
    """Whether a border may stand on either side of the character, whatever is next to it, if that is plain too."""
    if character.isascii() or "\u4e00" <= character <= "\u9fff":
        return character not in "\r\n"
    return unicodedata.category(character) in ("Lu", "Ll", "Po", "Nd") or "\u0e01" <= character <= "\u0e30"
