"""Paragraphs, headings and lists of a PDF, inferred from the lengths of its lines and the gaps between them.

A PDF has hardly any structure, so this is a heuristic. It changes line breaks and marks headings, never words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median

from lorag.pipeline.records import PageStart
from lorag.pipeline.retrieval.pdf_layout import Line

_GAP = 1.5
"""A distance to the next line that is so many times the usual one ends a paragraph."""
_ITEM = re.compile(r"\s*(?:[-*•‣▪–]|\(?[a-z][.)]|\d{1,3}[.)])\s+\S")
_OPENS = re.compile(r"[\"'“‘(]*[A-Z0-9À-ÖØ-Þ]")
_NUMBERED = re.compile(r"\s*\d{1,2}(?:\.\d{1,2})*[.)]?\s+[A-ZÀ-ÖØ-Þ]")
_STOPS = (".", "!", "?", ":", ";", ".)", ".”", '."', "…")
_LONGEST_HEADING = 80


def laid_out(pages: Sequence[tuple[int, Sequence[Line]]]) -> tuple[str, tuple[PageStart, ...]]:
    """The text of numbered pages, and where each begins in it.

    Lines keep their breaks, and a paragraph goes on over the end of a page. A paragraph ends with a blank line; a heading is a
    `## ` line.
    """
    lines: list[str] = []
    firsts: list[int] = []
    for _, page in pages:
        firsts.append(len(lines))
        lines += _spaced(page)
    pieces: list[str] = []
    starts: list[PageStart] = []
    length = 0
    for position, piece in _laid_out(lines):
        while len(starts) < len(firsts) and firsts[len(starts)] <= position:
            starts.append(PageStart(pages[len(starts)][0], length))
        pieces.append(piece)
        length += len(piece) + 1
    starts += [PageStart(number, max(length - 1, 0)) for number, _ in pages[len(starts) :]]
    return "\n".join(pieces).rstrip(), tuple(starts)


def _spaced(page: Sequence[Line]) -> Iterator[str]:
    """The lines' texts, with '' between two lines that stand further apart than lines of a paragraph do."""
    steps = [before.y - after.y for before, after in zip(page, page[1:], strict=False)]
    usual = median([step for step, line in zip(steps, page, strict=False) if 0 < step < 3 * line.size] or [0.0])
    for line, step in zip(page, [*steps, 0.0], strict=False):
        yield line.text
        if usual and step > _GAP * usual:
            yield ""


def _laid_out(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The lines of the text, each with the position of the one that it comes from."""
    lengths = sorted(len(line) for line in lines if line.strip())
    full = lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0
    fresh, listed = True, False
    for number, line in enumerate(lines):
        following = next((other for other in lines[number + 1 : number + 3] if other.strip()), "")
        if not line.strip():
            if not fresh:
                yield number, ""
            fresh = True
        elif fresh and _is_heading(line, following, full):
            yield number, f"## {line.strip()}"
            yield number, ""
            listed = False
        else:
            yield number, line
            listed = bool(_ITEM.match(line)) or (listed and not fresh)
            fresh = _ends_paragraph(line, following, full)
            if fresh and not (listed and _ITEM.match(following)):
                yield number, ""


def _is_heading(line: str, following: str, full: int) -> bool:
    """A short line without end punctuation that begins like a heading, above a full line, or above any line if it is numbered."""
    short = len(line) <= min(0.7 * full, _LONGEST_HEADING)
    if not following or not short or line.endswith((*_STOPS, ",", "-")):
        return False
    if _NUMBERED.match(line):
        return not _NUMBERED.match(following)
    full_below = len(following) >= 0.75 * full and _OPENS.match(following.strip())
    return bool(_OPENS.match(line.strip()) and full_below)


def _ends_paragraph(line: str, following: str, full: int) -> bool:
    if not following:
        return True
    if _ITEM.match(following) and following.lstrip()[0] not in "(":
        return line.endswith(_STOPS)
    return len(line) < 0.85 * full and line.endswith(_STOPS) and bool(_OPENS.match(following.strip()))
