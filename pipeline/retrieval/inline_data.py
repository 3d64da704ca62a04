"""Takes files that are written into a text as `data:` links (RFC 2397), such as inline images, out of it. Pure text."""

from __future__ import annotations

from dataclasses import replace

import regex

from lorag.pipeline.records import Document, Segment
from lorag.pipeline.retrieval.html_text import clip

SHORTEST = 100
"""Characters of data that are left out; less is an example that somebody wrote by hand."""

LEFT_OUT = "…"

# The data of a folded link go on in lines of base64 alone. Not by `re`: before Python 3.11.5 its possessive groups take too much.
_LINK = regex.compile(
    r"data:[\w.+-]{1,60}/[\w.+-]{1,80}(?:;[\w.+=-]{1,80}){0,4},"
    rf"(?P<data>[^\s\"'<>)\]}}]{{{SHORTEST},}}+(?:\s{{1,8}}[A-Za-z0-9+/]{{40,}}+={{0,2}}(?=\s|[)\"'>\]]|$))*+)",
    regex.IGNORECASE,
)


def without_inline_data(document: Document) -> tuple[Document, int]:
    """The document with an ellipsis in place of the data of each link, and the number of characters left out.

    The link keeps its beginning, which says what it was. `segments` map the rest onto the source.
    """
    text = document.text
    found = [match.span("data") for match in _LINK.finditer(text)] if "data:" in text or "DATA:" in text else []
    if not found:
        return document, 0
    source = document.segments or (Segment(0, 0, len(text)),)
    parts: list[str] = []
    segments: list[Segment] = []
    length = place = 0
    for low, high in [*found, (len(text), len(text))]:
        kept = text[place:low]
        moved = (Segment(each.offset + length, each.source_start, each.length) for each in clip(source, place, low))
        segments += [segment for segment in moved if segment.length]
        ending = LEFT_OUT if high > low else ""
        parts.append(kept + ending)
        length, place = length + len(kept) + len(ending), high
    pages = tuple(replace(page, offset=_moved(page.offset, found)) for page in document.pages)
    reduced = replace(document, text="".join(parts), segments=tuple(segments) or (Segment(0, 0, 0),), pages=pages)
    return reduced, sum(high - low for low, high in found)


def _moved(place: int, found: list[tuple[int, int]]) -> int:
    """The place after the data of `found` are left out."""
    return place - sum(min(place, high) - low - len(LEFT_OUT) for low, high in found if low < place)
