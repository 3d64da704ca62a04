"""From a document to passages: cut by structure, none too long, with stable ids and source offsets.

Sections first, then paragraphs, lists and tables, then sentences, then `cut_long`. Lengths are characters, and tokens where a
`TokenBound` counts them. Knows nothing of models or stores.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lorag.pipeline.contracts import embed
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Document, Passage, Segment
from lorag.pipeline.retrieval.blocks import Block, Kind, begins_item, blocks, parts, table_header
from lorag.pipeline.retrieval.cutting import cut_long
from lorag.pipeline.retrieval.html_text import clip
from lorag.pipeline.retrieval.pages import pages_within

MARKDOWN = frozenset({"md", "markdown", "mdx"})
"""Formats in which an underlined line is a heading."""

MAX_SECTION = 1000
"""Maximum characters of a passage's `section`: every passage below a heading has a copy of it."""

MAX_HEADER = 300
"""Maximum characters of a table's header that is repeated; a wider one loses its last columns."""


SLACK = 1 / 8
"""Share of what an encoder reads by which a passage may be longer: the vector of one that is hardly too long loses less than
those of two that lack the other half."""

_SHORTEST = 16
"""Characters below which a passage is not cut further, whatever its tokens."""


class TokenBound(Protocol):
    """How much of a text an encoder reads. No token is shorter than a byte."""

    @property
    def room(self) -> int:
        """Tokens that it reads of a text; 0 if that is not bounded."""
        ...

    def count(self, text: str) -> int:
        """The number of tokens of `text`."""
        ...


@dataclass(frozen=True, slots=True)
class _Span:
    """`start:end` of the document under the headings `trail`; `head` is the start of the innermost heading line."""

    start: int
    end: int
    trail: tuple[str, ...]
    head: int

    @property
    def length(self) -> int:
        return self.end - self.start


def chunk(
    document: Document, *, max_chars: int = 700, min_chars: int = 120, tokens: TokenBound | None = None
) -> tuple[Passage, ...]:
    """Cut `document` into passages of at most `max_chars` characters, in order, without overlap.

    With `tokens` they are also no longer than the encoder reads, headings included. One shorter than `min_chars` is joined with
    the next section under their common heading if both fit. A passage's text begins after its headings, which are in `section`
    without the document's title. A section joined to the one before keeps its heading line in the text. All text that is
    neither heading nor white space is in exactly one passage; a passage that begins within a table has the table's `header`.

    Linear in the length of the document, whatever it holds.

    Raises:
        InputError: the sizes are not 0 ≤ min_chars ≤ max_chars, max_chars > 0.
    """
    if not 0 <= min_chars <= max_chars or max_chars == 0:
        raise InputError(
            f"chunk sizes min_chars={min_chars}, max_chars={max_chars}: need 0 ≤ min_chars ≤ max_chars, max_chars > 0"
        )
    found = blocks(document.text, underlined=document.metadata.get("format", "md") in MARKDOWN)
    cutter = _Cutter(document, max_chars, min_chars, tokens, _Headers(document.text, found))
    spans = [span for trail, head, members in _sections(document, found) for span in cutter.cut(trail, head, members)]
    return tuple(_passages(document, cutter.joined(spans), cutter.headers))


class _Headers:
    """The headers of a text's tables, by place."""

    def __init__(self, text: str, found: Sequence[Block]) -> None:
        self._text = text
        self._tables = [block for block in found if block.kind is Kind.TABLE]
        self._known: dict[int, tuple[int, int] | None] = {}

    def at(self, start: int) -> str:
        """The header of the table in which `start` is, as far as it is before `start`; '' if there is none."""
        number = bisect_left(self._tables, start, key=lambda table: table.start) - 1
        if number < 0 or start >= self._tables[number].end:
            return ""
        if number not in self._known:
            self._known[number] = table_header(self._text, self._tables[number])
        place = self._known[number]
        if place is None:
            return ""
        header = self._text[place[0] : min(place[1], start)].rstrip()
        if len(header) <= MAX_HEADER:
            return header
        first = header.partition("\n")[0]
        return first if len(first) <= MAX_HEADER else first[: max(first.rfind("|", 0, MAX_HEADER) + 1, 0)]


@dataclass(frozen=True, slots=True)
class _Cutter:
    """Cuts the sections of one document."""

    document: Document
    max_chars: int
    min_chars: int
    tokens: TokenBound | None
    headers: _Headers

    def cut(self, trail: tuple[str, ...], head: int, members: Sequence[Block]) -> list[_Span]:
        """The spans of one section."""
        pieces = _pack(self.document.text, members, self.max_chars, self.min_chars)
        spans = [span for low, high in pieces for span in self._within(_Span(low, high, trail, low), members)]
        return [replace(spans[0], head=head), *spans[1:]] if spans else []

    def _within(self, span: _Span, members: Sequence[Block]) -> list[_Span]:
        """The span, cut into about equal parts if the encoder does not read it whole."""
        share = self._share_read(span)
        if share == 1:
            return [span]
        size = math.ceil(span.length * min(share, 1.25 / math.ceil(1 / share)))
        inside = [clipped for block in members if (clipped := _clipped(self.document.text, block, span))]
        pieces = _pack(self.document.text, inside, size, min(self.min_chars, size // 4))
        return [each for low, high in pieces for each in self._within(_Span(low, high, span.trail, low), inside)]

    def _share_read(self, span: _Span) -> float:
        """The share of the span's tokens that the encoder reads; 1 if it is all or nearly all of them."""
        if self.tokens is None or span.length <= _SHORTEST:
            return 1
        room = self.tokens.room
        title, section, header = self.document.title, _section(span.trail), self.headers.at(span.start)
        text = self.document.text[span.start : span.end]
        whole = embed.passage_text(title, section, f"{header}\n{text}" if header else text)
        if not room or len(whole.encode("utf-8", "replace")) <= room:
            return 1
        tokens = self.tokens.count(whole)
        if tokens <= room * (1 + SLACK):
            return 1
        heading = self.tokens.count(embed.passage_text(title, section, header))
        left = max(room - heading, room / 2)  # a passage is not cut to shreds for its headings
        return 1 if tokens - heading <= left * (1 + SLACK) else left / (tokens - heading)

    def joined(self, spans: Sequence[_Span]) -> list[_Span]:
        """The spans, each joined with the next section, under the headings they share, if either is too short alone and both
        fit."""
        joined: list[_Span] = []
        for span in spans:
            before = joined[-1] if joined else None
            if before is None or before.trail == span.trail or min(before.length, span.length) >= self.min_chars:
                joined.append(span)
                continue
            shared = _common(before.trail, span.trail)
            start = before.start if shared == before.trail else before.head
            complete = shared == before.trail or before.head < before.start
            both = _Span(start, span.end, shared, before.head)
            if complete and both.length <= self.max_chars and self._share_read(both) == 1:
                joined[-1] = both
            else:
                joined.append(span)
        return joined


def _clipped(text: str, block: Block, span: _Span) -> Block | None:
    """The part of `block` that is within `span`."""
    start, end = max(block.start, span.start), min(block.end, span.end)
    if start >= end:
        return None
    whole = block.kind is not Kind.LIST or start == block.start or begins_item(text, start)
    return replace(block, kind=block.kind if whole else Kind.PARAGRAPH, start=start, end=end)


def _sections(document: Document, found: Sequence[Block]) -> Iterator[tuple[tuple[str, ...], int, list[Block]]]:
    """Heading trail, start of the innermost heading line, blocks below it. A heading without content is its own block."""
    trail: list[tuple[int, str]] = []
    head: Block | None = None
    members: list[Block] = []

    def section() -> tuple[tuple[str, ...], int, list[Block]]:
        names = tuple(name for _, name in trail if name and name != document.title)
        return names, head.start if head else members[0].start, list(members)

    for block in found:
        if block.kind is not Kind.HEADING:
            members.append(block)
            continue
        if members:
            yield section()
        elif head is not None and block.level <= head.level and head.heading != document.title:
            trail.pop()
            yield (*(name for _, name in trail if name != document.title),), head.start, [head]
        members.clear()
        while trail and trail[-1][0] >= block.level:
            trail.pop()
        trail.append((block.level, block.heading))
        head = block
    if members:
        yield section()
    elif head is not None:
        trail.pop()
        yield (*(name for _, name in trail if name != document.title),), head.start, [head]


def _pack(text: str, members: Sequence[Block], max_chars: int, min_chars: int) -> list[tuple[int, int]]:
    """Neighbouring blocks of one section joined up to `max_chars`; a block that is too long is cut into its parts."""
    groups: list[list[tuple[int, int]]] = [[]]
    for block in members:
        whole = (block.start, block.end)
        group = groups[-1]
        if not group or block.end - group[0][0] <= max_chars:
            pieces = [whole] if block.end - block.start <= max_chars else _cut(text, block, max_chars)
        elif block.end - block.start <= max_chars and not _leans(text, group, min_chars):
            pieces = [whole]
            groups.append([])
        else:
            pieces = _cut(text, block, max_chars)
            if not _leans(text, group, min_chars):
                groups.append([])
        for piece in pieces:
            if groups[-1] and piece[1] - groups[-1][0][0] > max_chars:
                groups.append([])
            groups[-1].append(piece)
        _lengthen_tail(groups, max_chars, min_chars)
    return [(group[0][0], group[-1][1]) for group in groups if group]


def _leans(text: str, group: Sequence[tuple[int, int]], min_chars: int) -> bool:
    """Whether a group should take the beginning of the next block: it is too short alone, or ends in a colon."""
    return group[-1][1] - group[0][0] < min_chars or text.endswith(":", 0, group[-1][1])


def _lengthen_tail(groups: list[list[tuple[int, int]]], max_chars: int, min_chars: int) -> None:
    """Move pieces into a last group that is too short, while the group before stays long enough."""
    if len(groups) < 2:
        return
    before, tail = groups[-2], groups[-1]
    while len(before) > 1 and tail[-1][1] - tail[0][0] < min_chars:
        if before[-2][1] - before[0][0] < min_chars or tail[-1][1] - before[-1][0] > max_chars:
            return
        tail.insert(0, before.pop())


def _cut(text: str, block: Block, max_chars: int) -> list[tuple[int, int]]:
    """The parts of a block. Parts that are too long are cut again: items into sentences, all else by `cut_long`."""
    pieces: list[tuple[int, int]] = []
    for low, high in parts(text, block):
        if high - low <= max_chars:
            pieces.append((low, high))
        elif block.kind is Kind.LIST:
            pieces += _cut(text, Block(Kind.PARAGRAPH, low, high), max_chars)
        else:
            pieces += cut_long(text, low, high, max_chars, row=block.kind is Kind.TABLE)
    return pieces


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    shared = 0
    while shared < min(len(left), len(right)) and left[shared] == right[shared]:
        shared += 1
    return left[:shared]


def _section(trail: Sequence[str]) -> str:
    return " > ".join(trail)[:MAX_SECTION]


def _passages(document: Document, spans: Sequence[_Span], headers: _Headers) -> Iterator[Passage]:
    seen: Counter[str] = Counter()
    for span in spans:
        text = document.text[span.start : span.end]
        name = hashlib.sha256(_normalised(text).encode()).hexdigest()[:8]
        seen[name] += 1
        suffix = f"-{seen[name]}" if seen[name] > 1 else ""
        yield Passage(
            id=f"{document.id}#{name}{suffix}",
            document_id=document.id,
            source=document.source,
            title=document.title,
            section=_section(span.trail),
            text=text,
            start=span.start,
            end=span.end,
            metadata=document.metadata,
            segments=clip(document.segments, span.start, span.end),
            pages=pages_within(document.pages, span.start, span.end),
            header=headers.at(span.start),
        )


def _normalised(text: str) -> str:
    """The text that a passage's id depends on, regardless of white space, letter case and Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def locate(passage: Passage, start: int, end: int) -> tuple[int, int]:
    """The place of `passage.text[start:end]` in the decoded source file: `(source_start, source_end)`.

    If markup or an entity is inside the span, the longest verbatim run is returned (the first of equals). So `source_end -
    source_start` may be less than `end - start`, and is 0 if no character of it is in the file.

    Raises:
        InputError: not 0 ≤ start ≤ end ≤ len(passage.text).
    """
    if not 0 <= start <= end <= len(passage.text):
        raise InputError(f"passage {passage.id}: span {start}:{end} lies outside its {len(passage.text)} characters")
    if not passage.segments:
        return passage.start + start, passage.start + end
    best: Segment = max(clip(passage.segments, start, end), key=lambda segment: segment.length)
    return best.source_start, best.source_start + best.length
