"""From the passages of a data set to documents that `lorag ingest` reads, and to the chunks that it will make of them.

The set's passages and LoRAG's differ: a long one is cut, short ones of a document are joined. Ingestion's own code cuts them
here, with the same sizes, so ids agree. Knows no questions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.contracts.context import one_line
from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.pipeline.retrieval.loading import load_file
from lorag.training.data.formats.source import SourcePassage
from lorag.training.data.rows import PassageRow

_NAME_CHARS = 60


@dataclass(frozen=True, slots=True)
class DocumentSpan:
    """The position of a passage of the set: `start:end` of the text of `document`."""

    document: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents as written.

    `names` maps a document key of the set to its file name, which is the key of `texts` and of `pieces`, its chunks. `spans` maps
    a passage id of the set to its position.
    """

    names: Mapping[str, str]
    texts: Mapping[str, str]
    pieces: Mapping[str, tuple[Passage, ...]]
    spans: Mapping[str, DocumentSpan]

    def rows(self) -> list[PassageRow]:
        """All chunks as rows of `passages.jsonl`."""
        return [PassageRow.of(piece) for pieces in self.pieces.values() for piece in pieces]

    def overlapping(self, document: str, start: int, end: int) -> tuple[Passage, ...]:
        """The chunks of `document` that overlap `start:end` of its text."""
        return tuple(piece for piece in self.pieces[document] if piece.start < end and start < piece.end)


def lay_out(passages: Iterable[SourcePassage], folder: Path, chunking: Chunking) -> Corpus:
    """Write the documents of `passages` to `folder` as Markdown, one file each, and chunk them.

    Raises DataError if a passage id occurs twice with different texts.
    """
    members: dict[str, dict[str, SourcePassage]] = {}
    known: dict[str, SourcePassage] = {}
    for passage in passages:
        if known.setdefault(passage.id, passage) != passage:
            raise DataError(f"passage {passage.id!r} stands twice, with different texts; ids must differ")
        members.setdefault(passage.document, {})[passage.id] = passage
    if members:
        folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, str] = {}
    taken: set[str] = set()
    texts: dict[str, str] = {}
    pieces: dict[str, tuple[Passage, ...]] = {}
    spans: dict[str, DocumentSpan] = {}
    for key, by_id in members.items():
        name = names[key] = _file_name(key, taken)
        texts[name], found = _text(name, list(by_id.values()))
        spans |= found
        path = folder / name
        path.write_bytes(texts[name].encode("utf-8"))
        (document,) = load_file(path, folder)
        pieces[name] = chunking.cut(document)
    return Corpus(names, texts, pieces, spans)


def _text(name: str, passages: list[SourcePassage]) -> tuple[str, dict[str, DocumentSpan]]:
    """The document's text, and the position of each passage in it. Texts stay verbatim except for white space around them."""
    title = one_line(passages[0].title)
    text = f"# {title}\n" if title else ""
    spans: dict[str, DocumentSpan] = {}
    for passage in passages:
        body = passage.text.strip()
        text += "\n" if text else ""
        spans[passage.id] = DocumentSpan(name, len(text), len(text) + len(body))
        text += body + "\n"
    return text, spans


def _file_name(key: str, taken: set[str]) -> str:
    """A portable file name made of the document's key; different for different documents."""
    plain = unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_NAME_CHARS].strip("-") or "document"
    name, number = f"{stem}.md", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}.md"
    taken.add(name)
    return name
