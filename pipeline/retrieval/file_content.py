"""One file of a folder on its way to documents: its bytes, and what a reader made of them.

Knows no kinds of files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lorag.pipeline.records import Document, PageStart, Segment
from lorag.pipeline.retrieval.decoding import Decoded, decode

MAX_TITLE = 1000
"""Maximum characters of a title: every passage has a copy of it."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of one document and what heads it, '' for the file's name. `segments` and `pages` are as for `Document`, `missing`
    and `notes` as for `Content`."""

    title: str
    text: str
    segments: tuple[Segment, ...] = ()
    pages: tuple[PageStart, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """What a reader made of a file. `missing` are lines on what it could not read of it, with what to do: the file then counts
    as read in part. `notes` are lines on how the rest was read."""

    documents: tuple[Document, ...]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    path: Path
    relative: str
    data: bytes

    def metadata(self) -> dict[str, Any]:
        """Metadata of every document, for filters: its format and its top folder."""
        top, slash, _ = self.relative.partition("/")
        return {"format": self.path.suffix.lower().lstrip("."), "folder": top if slash else ""}

    def document(self, title: str, text: str, **more: Any) -> Document:
        digest = hashlib.sha256(self.data).hexdigest()
        metadata = MappingProxyType(self.metadata())
        title = title[:MAX_TITLE] or self.path.stem
        return Document(self.relative, title, text, str(self.path), digest, metadata, **more)

    def decoded(self, declared: str = "") -> Decoded:
        """Raises InputError if the bytes are no text."""
        return decode(self.data, str(self.path), declared)

    def content(self, found: Extracted, decoded: Decoded | None = None) -> Content:
        """One document, with what is to be said of its bytes."""
        document = self.document(found.title, found.text, segments=found.segments, pages=found.pages)
        missing, notes = (decoded.missing, decoded.notes) if decoded else ((), ())
        return Content((document,), (*found.missing, *missing), (*found.notes, *notes))
