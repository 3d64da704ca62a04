"""The block structure of a text: headings, paragraphs, lists, tables, fenced code, in the Markdown notation.

Finds offsets only. Knows nothing of passages or their lengths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from lorag.pipeline.retrieval.sentences import sentences

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+")
_UNDERLINE = re.compile(r" {0,3}(=+|-{3,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_ITEM = re.compile(r"[ \t]*(?:[-*+•‣▪–]|\d{1,3}[.)])[ \t]+\S")
_INDENTED = re.compile(r"(?: {2,}|\t)\S")
_DELIMITER = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?$")
_DIGIT = re.compile(r"\d")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|={3,}[ \t]*)$")
_BREAK = re.compile(r"\r\n|\n|\r")

MAX_HEADING = 160
"""Maximum characters of a heading. A longer line is a paragraph, above a rule if it is underlined: so six levels fit a passage's
`section`, and no word is lost."""


class Kind(StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Block:
    """`text[start:end]` without surrounding white space. `level` and `heading` are set for headings only."""

    kind: Kind
    start: int
    end: int
    level: int = 0
    heading: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def blocks(text: str, *, underlined: bool = True) -> list[Block]:
    """The blocks of `text` in order; between them are only white space and horizontal rules.

    With `underlined`, a line above `---` or `===` is a heading, as in Markdown (CommonMark 0.31, 4.3).
    """
    found: list[Block] = []
    lines = list(_split(text))
    position = 0
    while position < len(lines):
        block, position = _read(lines, position, underlined)
        if block is not None:
            found.append(block)
    return found


def _split(text: str) -> Iterator[_Line]:
    start = 0
    for match in _BREAK.finditer(text):
        yield _Line(start, text[start : match.start()].rstrip())
        start = match.end()
    yield _Line(start, text[start:].rstrip())


def _read(lines: list[_Line], position: int, underlined: bool) -> tuple[Block | None, int]:
    """The block that begins at `position`, and the position after it."""
    line = lines[position]
    if not line.text.strip() or _RULE.match(line.text):
        return None, position + 1
    if heading := heading_of(line.text):
        return Block(Kind.HEADING, line.start, line.end, *heading), position + 1
    if fence := _FENCE.match(line.text):
        return _code(lines, position, fence.group(1))
    kind = _kind(line)
    last = position
    while last + 1 < len(lines) and _continues(kind, lines, last + 1):
        last += 1
    if (
        underlined
        and kind is Kind.PARAGRAPH
        and last == position
        and len(line.text) <= MAX_HEADING
        and last + 1 < len(lines)
        and (under := _UNDERLINE.match(lines[last + 1].text))
    ):
        level = 1 if under.group(1)[0] == "=" else 2
        return Block(Kind.HEADING, line.start, lines[last + 1].end, level, line.text.strip()), last + 2
    start = line.start + len(line.text) - len(line.text.lstrip()) if kind is not Kind.LIST else line.start
    return Block(kind, start, lines[last].end), last + 1


def heading_of(line: str) -> tuple[int, str] | None:
    """Level and text of a `# Heading` line (CommonMark 0.31, 4.2); None if the line is none."""
    opening = _HEADING.match(line)
    if opening is None:
        return None
    text = line[opening.end() :].rstrip()
    # Not one pattern for all: it would try each of many `#` as the first closing one.
    bare = text.rstrip("#")
    if bare != text and (not bare or bare[-1] in " \t"):
        text = bare.rstrip()
    return (len(opening.group(1)), text) if len(text) <= MAX_HEADING else None


def _kind(line: _Line) -> Kind:
    if line.text.lstrip().startswith("|"):
        return Kind.TABLE
    return Kind.LIST if _ITEM.match(line.text) else Kind.PARAGRAPH


def begins_item(text: str, start: int) -> bool:
    """Whether a list item begins at `start`."""
    return _ITEM.match(text, start) is not None


def _continues(kind: Kind, lines: list[_Line], position: int) -> bool:
    text = lines[position].text
    if heading_of(text) or _FENCE.match(text) or _UNDERLINE.match(text) or (_RULE.match(text)):
        return False
    if not text.strip():
        # A blank line between two items, or before an item's indented paragraph, does not end a list.
        following = next((line.text for line in lines[position + 1 : position + 3] if line.text.strip()), "")
        return kind is Kind.LIST and bool(_ITEM.match(following) or _INDENTED.match(following))
    if kind is Kind.LIST:
        return not text.lstrip().startswith("|")
    return _kind(lines[position]) is kind


def _code(lines: list[_Line], position: int, fence: str) -> tuple[Block, int]:
    last = position + 1
    while last < len(lines) and not lines[last].text.lstrip().startswith(fence):
        last += 1
    last = min(last, len(lines) - 1)
    return Block(Kind.CODE, lines[position].start, lines[last].end), last + 1


def table_header(text: str, block: Block) -> tuple[int, int] | None:
    """The place of a table's header: its first row and the delimiter row below it.

    A table without a delimiter row, such as one of an HTML page, has a header if its first row has text in each of several
    cells and no digit, and another row has a digit. None if there is none.
    """
    rows = parts(text, block)
    if block.kind is not Kind.TABLE or len(rows) < 2:
        return None
    if _DELIMITER.match(text[slice(*rows[1])].strip()):
        return rows[0][0], rows[1][1]
    first, rest = text[slice(*rows[0])], text[rows[1][0] : block.end]
    cells = [cell.strip() for cell in first.strip().strip("|").split("|")]
    named = len(cells) > 1 and all(cells) and not _DIGIT.search(first)
    return rows[0] if named and _DIGIT.search(rest) else None


def parts(text: str, block: Block) -> list[tuple[int, int]]:
    """The pieces that a block may be cut into: rows, items, code lines or sentences, in order, without surrounding white
    space."""
    body = text[block.start : block.end]
    if block.kind is Kind.LIST:
        return [(block.start + low, block.start + high) for low, high in _items(body)]
    if block.kind in (Kind.TABLE, Kind.CODE):
        return [(block.start + line.start, block.start + line.end) for line in _split(body) if line.text]
    return [(block.start + low, block.start + high) for low, high in sentences(body)]


def _items(body: str) -> Iterator[tuple[int, int]]:
    """Outermost items, each with the lines indented under it."""
    lines = [line for line in _split(body) if line.text.strip()]
    margin = min(len(line.text) - len(line.text.lstrip()) for line in lines if _ITEM.match(line.text))
    start = end = lines[0].start
    for line in lines:
        if _ITEM.match(line.text) and len(line.text) - len(line.text.lstrip()) == margin and line.start > start:
            yield start, end
            start = line.start
        end = line.end
    yield start, end
