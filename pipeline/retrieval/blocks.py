"""The block structure of a text: headings, paragraphs, lists, tables, fenced code, in the Markdown notation.

Finds offsets only. Knows nothing of passages or their lengths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from lorag.pipeline.retrieval.sentences import sentences

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{3,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_ITEM = re.compile(r"[ \t]*(?:[-*+•‣▪–]|\d{1,3}[.)])[ \t]+\S")
_INDENTED = re.compile(r"(?: {2,}|\t)\S")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|={3,}[ \t]*)$")
_BREAK = re.compile(r"\r\n|\n|\r")

MAX_UNDERLINED = 160
"""Maximum characters of a line that is a heading because the next one underlines it. A longer one is a paragraph above a rule."""


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
    if heading := _HEADING.match(line.text):
        return Block(Kind.HEADING, line.start, line.end, len(heading.group(1)), heading.group(2).strip()), position + 1
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
        and len(line.text) <= MAX_UNDERLINED
        and last + 1 < len(lines)
        and (under := _UNDERLINE.match(lines[last + 1].text))
    ):
        level = 1 if under.group(1)[0] == "=" else 2
        return Block(Kind.HEADING, line.start, lines[last + 1].end, level, line.text.strip()), last + 2
    start = line.start + len(line.text) - len(line.text.lstrip()) if kind is not Kind.LIST else line.start
    return Block(kind, start, lines[last].end), last + 1


def _kind(line: _Line) -> Kind:
    if line.text.lstrip().startswith("|"):
        return Kind.TABLE
    return Kind.LIST if _ITEM.match(line.text) else Kind.PARAGRAPH


def _continues(kind: Kind, lines: list[_Line], position: int) -> bool:
    text = lines[position].text
    if _HEADING.match(text) or _FENCE.match(text) or _UNDERLINE.match(text) or (_RULE.match(text)):
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
