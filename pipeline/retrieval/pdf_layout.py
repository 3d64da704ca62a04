"""The lines of a PDF page in reading order, from the places of its characters. PDFium decodes the characters.

PDFium gives the characters of a page in the order in which they were drawn, and joins what stands at one height. So lines of
neighbouring columns come as one line, and those of a turned page may come from the last to the first. Both are mended here. Knows
nothing of paragraphs, running heads or files.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from ctypes import byref
from dataclasses import dataclass
from typing import Any

COLUMN_ROWS = 4
"""Rows with a common gutter that make columns."""
COLUMN_WORDS = 3
"""Words that the lines of each column have on average; cells of a table have fewer."""
_GAP = 1.2
"""A gap of so many font sizes within a line may be a gutter."""
_SAME_LINE = 0.3
"""Difference in height, in line heights, up to which what stands further right is of the same line."""
_LINE_END_HYPHENS = ("\ufffe", "\x02")


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of a line without a wide gap. Coordinates are points, upright: `left` < `right`, y grows upwards."""

    text: str
    left: float
    right: float


@dataclass(frozen=True, slots=True)
class Line:
    """`y` is the middle, `size` the height of its highest character. `runs` are from left to right."""

    runs: tuple[Run, ...]
    y: float
    size: float

    @property
    def text(self) -> str:
        return " ".join(run.text for run in self.runs)

    @property
    def left(self) -> float:
        return self.runs[0].left

    @property
    def right(self) -> float:
        return self.runs[-1].right


@dataclass(frozen=True, slots=True)
class _Char:
    text: str
    turn: int
    left: float
    right: float
    low: float
    high: float


def page_lines(text_page: Any) -> list[Line]:
    """The lines of a page (a pypdfium2 text page) in reading order."""
    found = [line for line in map(_line, _rows(_characters(text_page))) if line is not None]
    return unfold_columns(_downwards(_whole(found)))


def _characters(text_page: Any) -> Iterator[_Char]:
    import pypdfium2.raw as raw

    box = raw.FS_RECTF()
    for index in range(text_page.count_chars()):
        code = raw.FPDFText_GetUnicode(text_page, index)
        text = chr(code) if 0 < code <= 0x10FFFF else " "
        raw.FPDFText_GetLooseCharBox(text_page, index, byref(box))
        turn = round(raw.FPDFText_GetCharAngle(text_page, index) / (math.pi / 2)) % 4
        yield _upright(text, turn, box.left, box.bottom, box.right, box.top)


def _upright(text: str, turn: int, left: float, bottom: float, right: float, top: float) -> _Char:
    """The box as it is if the page is turned so that the character stands upright. `turn` counts quarters clockwise."""
    if turn == 1:
        left, bottom, right, top = -top, left, -bottom, right
    elif turn == 2:
        left, bottom, right, top = -right, -top, -left, -bottom
    elif turn == 3:
        left, bottom, right, top = bottom, -right, top, -left
    return _Char(text, turn, left, right, bottom, top)


def _rows(characters: Iterable[_Char]) -> Iterator[list[_Char]]:
    """Characters of one line each. A hyphen at a line's end, over which PDFium joins the lines, stays and ends the line."""
    row: list[_Char] = []
    for character in characters:
        if character.text in "\r\n":
            yield row
            row = []
        elif character.text in _LINE_END_HYPHENS:
            yield [*row, _Char("-", character.turn, character.left, character.right, character.low, character.high)]
            row = []
        else:
            row.append(character)
    yield row


def _line(row: Sequence[_Char]) -> Line | None:
    """The row as a line of the direction that most of its characters have; None if it holds no visible character."""
    shown = [each for each in row if not each.text.isspace()]
    if not shown:
        return None
    turns = [each.turn for each in shown]
    turn = max(set(turns), key=turns.count)
    upright = [each for each in shown if each.turn == turn]
    size = max(each.high - each.low for each in upright) or 1.0
    runs: list[tuple[list[str], float, float]] = []
    for each in row:
        if each.text.isspace():
            if runs:
                runs[-1][0].append(" ")
            continue
        if runs and (each.turn != turn or -size < each.left - runs[-1][2] <= _GAP * size):
            runs[-1] = (runs[-1][0], min(runs[-1][1], each.left), max(runs[-1][2], each.right))
            runs[-1][0].append(each.text)
        else:
            runs.append(([each.text], each.left, each.right))
    made = tuple(Run(text, left, right) for pieces, left, right in runs if (text := _text(pieces)))
    return Line(made, sum(each.high + each.low for each in upright) / (2 * len(upright)), size) if made else None


def _text(pieces: Sequence[str]) -> str:
    """The characters as text: halves of surrogate pairs joined, control characters and repeated blanks left out."""
    text = "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return " ".join("".join(each for each in text if unicodedata.category(each) != "Cc").split())


def _whole(lines: Sequence[Line]) -> list[Line]:
    """The lines, with those joined that PDFium cuts at a raised number or a wide gap."""
    whole: list[Line] = []
    for line in lines:
        before = whole[-1] if whole else None
        size = max(before.size, line.size) if before else 0.0
        if before and abs(before.y - line.y) <= _SAME_LINE * size and before.right - 0.2 * size <= line.left:
            whole[-1] = _joined(before, line, size)
        else:
            whole.append(line)
    return whole


def _joined(before: Line, after: Line, size: float) -> Line:
    gap = after.left - before.right
    if gap > _GAP * size:
        runs = (*before.runs, *after.runs)
    else:
        last, first = before.runs[-1], after.runs[0]
        text = f"{last.text} {first.text}" if gap > 0.1 * size else last.text + first.text
        runs = (*before.runs[:-1], Run(text, last.left, first.right), *after.runs[1:])
    return Line(runs, before.y if before.size >= after.size else after.y, size)


def _downwards(lines: list[Line]) -> list[Line]:
    """The lines, turned round if nearly all of them stand above the one before."""
    steps = [after.y - before.y for before, after in zip(lines, lines[1:], strict=False)]
    return lines[::-1] if steps and sum(step > 0 for step in steps) >= 0.8 * len(steps) else lines


def unfold_columns(lines: Sequence[Line]) -> list[Line]:
    """Lines that are read across columns of prose, column after column instead. Tables stay row after row."""
    unfolded: list[Line] = []
    position = 0
    while position < len(lines):
        end, gutter = _columns(lines, position)
        left = [line for line in (_side(each, gutter, True) for each in lines[position:end]) if line]
        right = [line for line in (_side(each, gutter, False) for each in lines[position:end]) if line]
        if min(len(left), len(right)) >= COLUMN_ROWS and _words(left) >= COLUMN_WORDS and _words(right) >= COLUMN_WORDS:
            unfolded += [*left, *unfold_columns(right)]
            position = end
        else:
            unfolded.append(lines[position])
            position += 1
    return unfolded


def _columns(lines: Sequence[Line], first: int) -> tuple[int, tuple[float, float]]:
    """The end of the lines from `first` on that leave a common gutter free, and the gutter, left and right."""
    line = lines[first]
    if len(line.runs) < 2:
        return first + 1, (0.0, 0.0)
    low, high = line.runs[0].right, line.runs[1].left
    end = first + 1
    while end < len(lines):
        free = _free(lines[end], low, high)
        if free is None or lines[end].y > lines[end - 1].y:
            break
        low, high = free
        end += 1
    return end, (low, high)


def _free(line: Line, low: float, high: float) -> tuple[float, float] | None:
    """The part of the gutter that the line leaves free, None if it runs across."""
    for run in line.runs:
        if run.right <= (low + high) / 2:
            low = max(low, run.right)
        elif run.left >= (low + high) / 2:
            high = min(high, run.left)
        else:
            return None
    return (low, high) if high - low >= 0.3 * line.size else None


def _side(line: Line, gutter: tuple[float, float], left: bool) -> Line | None:
    middle = sum(gutter) / 2
    runs = tuple(run for run in line.runs if (run.right <= middle) == left)
    return Line(runs, line.y, line.size) if runs else None


def _words(lines: Sequence[Line]) -> float:
    return sum(len(line.text.split()) for line in lines) / len(lines)
