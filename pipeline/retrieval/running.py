"""Finds what a document repeats at the edges of its pages: running heads, running feet and page numbers.

Not every line that stands on each page is one: a form's first line, or the last of a record of one page each, is text. So each
number in a line must stay the same or count with the pages. Knows only lines and their places.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from lorag.pipeline.retrieval.pdf_layout import Line

_DEPTH = 3
"""Lines of a running head or foot at most."""
_LEAST = 3
"""Pages on which a line must stand to be one."""
_SAME_PLACE = 0.6
"""Difference in height, in line heights, up to which two lines stand at the same place."""
_APART = 1.2
"""A line with a number is only a running one if its distance from the text is this many times that of two lines of text."""
_NUMBER = re.compile(r"\d+")
_BARE = re.compile(r"\W*(?P<word>page\s+|p\.\s*|seite\s+)?(?P<number>\d{1,4})(?:\s*(?:/|of|von)\s*\d{1,4})?\W*$", re.IGNORECASE)
_PARTS = re.compile(
    r"\s*(?:chapter|section|part|unit|lesson|step|day|week|article|rule|question|exercise|appendix|annex|kapitel|abschnitt)\b",
    re.IGNORECASE,
)
"""Words before a number that counts parts, not pages, even if each page begins a part."""
_COUNTED = re.compile(r"[\W_]*(?:\b(?:page|p|pg|seite|s)\b\.?\s*)?\0(?:\s*(?:/|of|von)\s*\d+)?[\W_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Running:
    """`pages` are the lines of each page without the running ones. `heads` and `feet` are those, once each and without their
    page numbers, from top to bottom."""

    pages: tuple[tuple[Line, ...], ...]
    heads: tuple[str, ...] = ()
    feet: tuple[str, ...] = ()


def without_running(pages: Sequence[Sequence[Line]]) -> Running:
    """The pages' lines, from which running heads and feet and page numbers are taken out."""
    left = [list(page) for page in pages]
    heads, feet = _take(left, top=True), _take(left, top=False)
    _take_page_numbers(left)
    return Running(tuple(map(tuple, left)), tuple(heads), tuple(feet[::-1]))


def _take(pages: list[list[Line]], *, top: bool) -> list[str]:
    """Remove the running lines of one edge, from the edge inwards; what they say, without page numbers."""
    said: list[str] = []
    open_pages = [number for number, page in enumerate(pages) if page]
    count = len(open_pages)
    for _ in range(_DEPTH):
        groups: dict[str, list[int]] = defaultdict(list)
        edges = {number: _edge(pages[number], top) for number in open_pages if pages[number]}
        for number, line in edges.items():
            groups[_NUMBER.sub("#", " ".join(line.text.split()).casefold())].append(number)
        found = [(members, slots) for group in groups.values() for members, slots in _running(group, edges, pages, count)]
        if not found:
            break
        for members, slots in found:
            text = _said(edges[members[0]].text, slots)
            if text and text not in said:
                said.append(text)
            for number in members:
                pages[number].remove(edges[number])
        open_pages = sorted(number for members, _ in found for number in members)
    return said


def _edge(page: Sequence[Line], top: bool) -> Line:
    return max(page, key=lambda line: line.y) if top else min(page, key=lambda line: line.y)


def _running(
    group: Sequence[int], edges: dict[int, Line], pages: Sequence[Sequence[Line]], count: int
) -> Iterator[tuple[list[int], frozenset[int]]]:
    """The pages of `group` on which its line is a running one, and which of its numbers count the pages; nothing if none is."""
    height = median(edges[number].y for number in group)
    members = [number for number in group if abs(edges[number].y - height) <= _SAME_PLACE * edges[number].size]
    counting: set[int] = set()
    for slot in range(len(_NUMBER.findall(edges[members[0]].text)) if members else 0):
        values = {number: int(_NUMBER.findall(edges[number].text)[slot]) for number in members}
        (constant, same), (offset, steps) = _most(values.values()), _most(values[number] - number for number in members)
        if steps > same or (steps == same and len(members) > 1 and steps > 1):
            counting.add(slot)
            members = [number for number in members if values[number] - number == offset]
        else:
            members = [number for number in members if values[number] == constant]
    odd = sum(number % 2 for number in members)
    most = len(members) >= 0.5 * count or (odd in (0, len(members)) and len(members) >= 0.3 * count)
    if len(members) < _LEAST or not most:
        return
    line = edges[members[0]].text
    if counting and (_PARTS.match(line) or not all(_is_apart(edges[number], pages[number]) for number in members)):
        return
    yield members, frozenset(counting)


def _most(values: Iterable[int]) -> tuple[int, int]:
    """The most common value and how often it is there."""
    return Counter(values).most_common(1)[0]


def _is_apart(line: Line, page: Sequence[Line]) -> bool:
    """Whether the line is set off from the page's text, or is all there is."""
    heights = sorted({other.y for other in page if other is not line}, key=lambda y: abs(y - line.y))
    if len(heights) < 2:
        return True
    steps = sorted(abs(after - before) for before, after in zip(sorted(heights), sorted(heights)[1:], strict=False))
    return abs(heights[0] - line.y) >= _APART * median(steps)


def _said(text: str, counting: frozenset[int]) -> str:
    """The line without the numbers that count the pages, '' if no word is left."""
    slot = iter(range(len(_NUMBER.findall(text))))
    marked = _NUMBER.sub(lambda match: "\0" if next(slot) in counting else match.group(), text)
    plain = " ".join(_COUNTED.sub(" ", marked).split())
    return plain if any(letter.isalpha() for letter in plain) else ""


def _take_page_numbers(pages: list[list[Line]]) -> None:
    """Remove page numbers at the edges that are no running lines, as in a document of two pages."""
    for top in (True, False):
        edges = {number: _edge(page, top) for number, page in enumerate(pages) if page}
        found = {number: match for number, line in edges.items() if (match := _BARE.match(line.text))}
        offsets = Counter(int(match["number"]) - number for number, match in found.items())
        for number, match in found.items():
            offset = int(match["number"]) - number
            if match["word"] or offset == 1 or (offsets[offset] > 1 and _is_apart(edges[number], pages[number])):
                pages[number].remove(edges[number])
