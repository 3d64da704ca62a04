"""From a document to passages: cut by structure, never inside a word, with stable ids and source offsets.

Sections first, then paragraphs, lists and tables, then sentences, then words. Knows nothing of tokens, models or stores;
lengths are characters.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Document, Passage, Segment
from lorag.pipeline.retrieval.blocks import Block, Kind, blocks, parts
from lorag.pipeline.retrieval.html_text import clip
from lorag.pipeline.retrieval.pages import pages_within

_WORDS = re.compile(r"\S+")
_CLAUSE_ENDS = (";", ":", ",", "–", "—")
MARKDOWN = frozenset({"md", "markdown", "mdx"})
"""Formats in which an underlined line is a heading."""

MAX_SECTION = 1000
"""Maximum characters of a passage's `section`: every passage below a heading has a copy of it."""


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


def chunk(document: Document, *, max_chars: int = 700, min_chars: int = 120) -> tuple[Passage, ...]:
    """Cut `document` into passages of at most `max_chars` characters, in order, without overlap.

    A passage is longer only if a single table row, code line or word is. One shorter than `min_chars` is joined with the next
    section under their common heading if both fit. A passage's text begins after its headings, which are in `section` without
    the document's title. A section joined to the one before keeps its heading line in the text. All text that is neither
    heading nor white space is in exactly one passage.

    Raises:
        InputError: the sizes are not 0 ≤ min_chars ≤ max_chars, max_chars > 0.
    """
    if not 0 <= min_chars <= max_chars or max_chars == 0:
        raise InputError(
            f"chunk sizes min_chars={min_chars}, max_chars={max_chars}: need 0 ≤ min_chars ≤ max_chars, max_chars > 0"
        )
    spans: list[_Span] = []
    for trail, head, members in _sections(document):
        pieces = _pack(document.text, members, max_chars, min_chars)
        spans += [_Span(low, high, trail, head if number == 0 else low) for number, (low, high) in enumerate(pieces)]
    return _passages(document, _join_small(spans, max_chars, min_chars))


def _sections(document: Document) -> Iterator[tuple[tuple[str, ...], int, list[Block]]]:
    """Heading trail, start of the innermost heading line, blocks below it. A heading without content is its own block."""
    trail: list[tuple[int, str]] = []
    head: Block | None = None
    members: list[Block] = []

    def section() -> tuple[tuple[str, ...], int, list[Block]]:
        names = tuple(name for _, name in trail if name and name != document.title)
        return names, head.start if head else members[0].start, list(members)

    for block in blocks(document.text, underlined=document.metadata.get("format", "md") in MARKDOWN):
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
    """The parts of a block. Parts that are too long are cut again: items into sentences, sentences at clauses or words."""
    pieces: list[tuple[int, int]] = []
    for low, high in parts(text, block):
        if high - low <= max_chars or block.kind in (Kind.TABLE, Kind.CODE):
            pieces.append((low, high))
        elif block.kind is Kind.LIST:
            pieces += _cut(text, Block(Kind.PARAGRAPH, low, high), max_chars)
        else:
            pieces += _cut_words(text, low, high, max_chars)
    return pieces


def _cut_words(text: str, low: int, high: int, max_chars: int) -> Iterator[tuple[int, int]]:
    """Cut at the last clause end in the second half of the allowed length, else after the last word that fits."""
    words = [(match.start(), match.end()) for match in _WORDS.finditer(text, low, high)]
    first = 0
    while first < len(words):
        start = words[first][0]
        last = first
        while last + 1 < len(words) and words[last + 1][1] - start <= max_chars:
            last += 1
        if last + 1 < len(words):
            half = start + max_chars // 2
            clauses = [n for n in range(first, last + 1) if words[n][1] > half and text.endswith(_CLAUSE_ENDS, 0, words[n][1])]
            last = clauses[-1] if clauses else last
        yield start, words[last][1]
        first = last + 1


def _join_small(spans: Sequence[_Span], max_chars: int, min_chars: int) -> list[_Span]:
    """Join a span with the next section, under the headings they share, if either is too short alone and both fit."""
    joined: list[_Span] = []
    for span in spans:
        before = joined[-1] if joined else None
        if before is None or before.trail == span.trail or min(before.length, span.length) >= min_chars:
            joined.append(span)
            continue
        shared = _common(before.trail, span.trail)
        start = before.start if shared == before.trail else before.head
        complete = shared == before.trail or before.head < before.start
        if complete and span.end - start <= max_chars:
            joined[-1] = _Span(start, span.end, shared, before.head)
        else:
            joined.append(span)
    return joined


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    shared = 0
    while shared < min(len(left), len(right)) and left[shared] == right[shared]:
        shared += 1
    return left[:shared]


def _passages(document: Document, spans: Sequence[_Span]) -> tuple[Passage, ...]:
    seen: Counter[str] = Counter()
    made = []
    for span in spans:
        text = document.text[span.start : span.end]
        name = hashlib.sha256(_normalised(text).encode()).hexdigest()[:8]
        seen[name] += 1
        suffix = f"-{seen[name]}" if seen[name] > 1 else ""
        made.append(
            Passage(
                id=f"{document.id}#{name}{suffix}",
                document_id=document.id,
                source=document.source,
                title=document.title,
                section=" > ".join(span.trail)[:MAX_SECTION],
                text=text,
                start=span.start,
                end=span.end,
                metadata=document.metadata,
                segments=clip(document.segments, span.start, span.end),
                pages=pages_within(document.pages, span.start, span.end),
            )
        )
    return tuple(made)


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
