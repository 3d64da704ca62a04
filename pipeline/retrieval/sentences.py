"""Splits text into sentences by plain rules, without a model or language pack.

A list item begins a sentence; a table row and a heading line are each one. Knows nothing of documents or passages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_OWN_LINE = re.compile(r"[ \t]*(?:[-*+•‣▪–][ \t]|\d{1,3}[.)][ \t]|\(?[a-z][.)][ \t]|#{1,6}[ \t]|\|)")
_ROW_OR_HEADING = re.compile(r"[ \t]*(?:\||#{1,6}[ \t])")
_MARKER = re.compile(r"[ \t]*(?:\d{1,3}[.)]|\(?[a-z][.)])[ \t]+")
# Possessive, and only at the start of a run: else a line of dots that ends no sentence costs its length squared.
_STOP = re.compile(r"""(?<![.!?…؟۔։።])[.!?…؟۔։።]++["'”’»)\]*_]*+(?=\s)|[。！？｡।॥။།༎។៕]++[”」』）]*+""")
_NEXT = re.compile(r"""[\s"'“‘«(\[*_]*([^\W_])""")
_WORD_BEFORE = re.compile(r"[\w.'’-]*$")
_LONGEST_ABBREVIATION = 32
_INITIAL = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]$")
_NEEDS_NO_BLANK = "。！？｡।॥။།༎។៕"
# Followed by a name or a number, so a capital after them starts no sentence.
_TITLES = "capt col cf dr e.g eng fig figs gen hon i.e jr lt mr mrs ms mt no nos nr p pp prof rev sec sgt sr st viz vol vs"
_BEFORE_NAME = frozenset(_TITLES.split())
# May end a sentence, and then a capital follows; before a number they do not.
_MONTHS_AND_MORE = """
    a.m al approx apr aug ave bldg ca co corp dec dept ed est etc feb inc jan jul jun ltd mar max min nov oct p.m sep sept tel
"""
_ANYWHERE = frozenset(_MONTHS_AND_MORE.split())


def sentences(text: str) -> list[tuple[int, int]]:
    """Offsets `(start, end)` of the sentences of `text`, in order, without surrounding white space.

    Together they contain every character that is not white space. Decimals (`24.0`), initials (`J. Smith`), abbreviations
    (`e.g.`, `No. 5`) and the number of a list item end no sentence; a blank line always does.
    """
    return [span for start, end in _lines(text) for span in _prose(text, start, end)]


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Spans within which sentences may continue across line ends."""
    start = position = 0
    alone = False
    for line in text.splitlines(keepends=True):
        own = _OWN_LINE.match(line)
        if own or alone or not line.strip():
            yield start, position
            start = position
        alone = bool(_ROW_OR_HEADING.match(line))
        position += len(line)
    yield start, position


def _prose(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    stretch = text[start:end]
    if _ROW_OR_HEADING.match(stretch):
        stops: list[int] = []
    else:
        marker = _MARKER.match(stretch)
        first = marker.end() if marker else 0
        stops = [stop.end() for stop in _STOP.finditer(stretch) if stop.start() >= first and _ends(stretch, stop)]
    low = 0
    for high in [*stops, len(stretch)]:
        piece = stretch[low:high]
        if piece.strip():
            yield start + low + len(piece) - len(piece.lstrip()), start + low + len(piece.rstrip())
        low = high


def _ends(stretch: str, stop: re.Match[str]) -> bool:
    """Whether the punctuation at `stop` ends a sentence."""
    mark = stop.group()
    if mark[0] in _NEEDS_NO_BLANK:
        return True
    following = _NEXT.match(stretch, stop.end())
    if following is None:
        return True
    if following.group(1).islower():
        return False
    if mark[0] in "!?؟" or mark.startswith(".."):
        return True
    before = _WORD_BEFORE.search(stretch, max(0, stop.start() - _LONGEST_ABBREVIATION), stop.start())
    word = before.group() if before else ""
    if word.lower() in _BEFORE_NAME:
        return False
    if _INITIAL.fullmatch(word) and (word.isupper() or "." in word) and word.lower() not in _ANYWHERE:
        return not (len(word) == 1 or following.group(1).isdigit())
    return not (word.lower() in _ANYWHERE and following.group(1).isdigit())
