"""Updates a collection from a folder: finds what to add, replace and remove, and writes it so that a kill does no harm.

There is no separate progress record, which could disagree with the points. Every point has the fingerprint of its document's
version and that version's number of points. A document is complete if exactly those points are stored. New points are written
before the old ones are deleted, so after a kill every document is recognised as complete or incomplete.

Every run changes one partition only: not other tenants' documents, and not uploads if it ingests a folder.

Knows nothing of aliases, encoder identities or questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lorag.pipeline.records import Document, Passage
from lorag.pipeline.retrieval.bm25 import Bm25Encoder
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.embedder import Embedder, passage_text
from lorag.pipeline.retrieval.loading import Loaded, Skipped
from lorag.pipeline.retrieval.partition import PARTITION_FIELDS, Partition, partition_of, tenant_filter
from lorag.pipeline.retrieval.payload import FILE_FIELDS, from_payload, metadata_fields, to_payload
from lorag.pipeline.retrieval.store import Point, StoredPoint, VectorStore

_FORMAT = 1
"""Incremented when loading or chunking changes its output, so that every document counts as changed."""

Progress = Callable[[int, int, str], None]
"""Called with (documents done, documents in all, id of the last one)."""

Written = Callable[[int, int], None]
"""Called with (passages written, passages in all)."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Counts of documents by result; the index keeps its passages of `failed` files. `passages` is the tenant's total."""

    collection: str
    added: int
    changed: int
    unchanged: int
    removed: int
    failed: tuple[Skipped, ...]
    ignored: tuple[str, ...]
    passages: int


@dataclass(frozen=True, slots=True)
class Chunking:
    """The sizes for `chunk`, in characters."""

    max_chars: int = 700
    min_chars: int = 120


@dataclass(slots=True)
class _DocumentPoints:
    """A document's stored points: point id → (fingerprint, number of points of that version), and the places of their file."""

    points: dict[str, tuple[str, int]] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)

    def is_done(self, fingerprint: str) -> bool:
        return set(self.points.values()) == {(fingerprint, len(self.points))}

    def is_older(self, fingerprint: str) -> bool:
        return any(found != fingerprint for found, _ in self.points.values())


@dataclass(frozen=True, slots=True)
class _Task:
    """A document to write; `stale` are the points to delete afterwards."""

    document_id: str
    passages: tuple[Passage, ...]
    fingerprint: str
    stale: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ingester:
    """Fills one partition of collections in `store`. `batch` is how many passages are embedded and written at a time."""

    store: VectorStore
    embedder: Embedder
    bm25: Bm25Encoder
    chunking: Chunking
    partition: Partition = Partition()
    batch: int = 64

    def run(
        self,
        collection: str,
        loaded: Loaded,
        on_progress: Progress | None = None,
        *,
        file: str | None = None,
        on_written: Written | None = None,
    ) -> IngestReport:
        """Update the partition in `collection` to `loaded`. May be interrupted anywhere and run again.

        With `file`, a path in the form of `loaded`, only that file's documents are compared and replaced.

        Raises:
            StoreError: the store failed; written points stay and count in the next run.
        """
        stored = self._stored_points(collection, file)
        failed = list(loaded.skipped)
        todo: list[_Task] = []
        added = changed = unchanged = 0
        moved = False
        for document in loaded.documents:
            known = stored.pop(document.id, _DocumentPoints())
            version = fingerprint(document, self.chunking, self.bm25)
            if known.is_done(version):
                unchanged += 1
                if known.sources != {document.source}:  # the project's folder was moved, or is opened by another path
                    self.store.set_payload(collection, sorted(known.points), {"source": document.source})
                    moved = True
                continue
            passages = chunk(document, max_chars=self.chunking.max_chars, min_chars=self.chunking.min_chars)
            if not passages:
                failed.append(Skipped(document.id, "holds no passage, only rules or white space"))
                continue
            older = known.is_older(version)
            added, changed = added + (not older), changed + older
            written = {self.partition.point_id(passage.id) for passage in passages}
            todo.append(_Task(document.id, passages, version, frozenset(known.points) - written))
        self._add_fields(collection, (document.metadata for document in loaded.documents if not self.partition.uploaded))
        self._write(collection, todo, on_progress, on_written)
        removed = [name for name in stored if not any(belongs(name, skipped.path) for skipped in failed)]
        self._remove(collection, stored, removed)
        if todo or removed:
            self.store.optimise(collection)
        if todo or removed or moved:
            self.store.flush(collection)
        total = self.store.count(collection, tenant_filter(self.partition.tenant))
        return IngestReport(collection, added, changed, unchanged, len(removed), tuple(failed), loaded.ignored, total)

    def add(self, collection: str, passages: Sequence[Passage]) -> None:
        """Write ready passages. They belong to no document, so a later `run` removes them."""
        self._add_fields(collection, (passage.metadata for passage in passages))
        task = _Task("", tuple(passages), "", frozenset())
        for first in range(0, len(passages), self.batch):
            self.store.upsert(collection, self._points([(task, passage) for passage in passages[first : first + self.batch]]))
        self.store.optimise(collection)
        self.store.flush(collection)

    def carry_over(self, source: str, target: str, on_progress: Progress | None = None) -> None:
        """Copy the other partitions of `source` to `target`, every passage embedded again. May be run again.

        Passages are not cut again, so other chunk sizes take effect when a document is uploaded again. `on_progress` counts
        passages.
        """
        keys = ("fingerprint", *PARTITION_FIELDS)
        others = [point for point in self.store.scroll(target, keys=keys) if partition_of(point.payload) != self.partition]
        present = {point.id: point.payload.get("fingerprint") for point in others}
        total = self.store.count(source) - self.store.count(source, self.partition.filter())
        batch: list[StoredPoint] = []
        carried = (point for point in self.store.scroll(source) if partition_of(point.payload) != self.partition)
        for done, point in enumerate(carried, start=1):
            if present.pop(point.id, None) != point.payload.get("fingerprint"):
                batch.append(point)
            if len(batch) == self.batch:
                self._copy(target, batch)
                batch = []
            if on_progress:
                on_progress(done, total, str(point.payload["document_id"]))
        self._copy(target, batch)
        self.store.delete(target, sorted(present))
        self.store.flush(target)

    def _copy(self, target: str, points: Sequence[StoredPoint]) -> None:
        if not points:
            return
        texts = [passage_text(from_payload(point.payload)) for point in points]
        vectors = self.embedder.embed_passages(texts)
        self._add_fields(target, (point.payload["metadata"] for point in points if not partition_of(point.payload).uploaded))
        copies = [
            Point(point.id, vector.tolist(), self.bm25.passage(text), point.payload)
            for point, text, vector in zip(points, texts, vectors, strict=True)
        ]
        self.store.upsert(target, copies)

    def _add_fields(self, collection: str, metadata: Iterable[Mapping[str, Any]]) -> None:
        """Index the common payload fields and the keys of `metadata`. Never an upload's keys, since all tenants share the
        indexes."""
        self.store.add_fields(collection, {**FILE_FIELDS, **PARTITION_FIELDS, **metadata_fields(metadata)})

    def _stored_points(self, collection: str, file: str | None) -> dict[str, _DocumentPoints]:
        stored: dict[str, _DocumentPoints] = {}
        keys = ("document_id", "fingerprint", "pieces", "source")
        for point in self.store.scroll(collection, keys=keys, filter=self.partition.filter()):
            document_id = str(point.payload.get("document_id", ""))
            if file is None or belongs(document_id, file):
                entry = stored.setdefault(document_id, _DocumentPoints())
                entry.sources.add(str(point.payload.get("source", "")))
                entry.points[point.id] = (str(point.payload.get("fingerprint", "")), int(point.payload.get("pieces", 0)))
        return stored

    def _write(self, collection: str, todo: Sequence[_Task], on_progress: Progress | None, on_written: Written | None) -> None:
        done, written, total = 0, 0, sum(len(task.passages) for task in todo)
        for group in _groups(todo, self.batch):
            work = [(task, passage) for task in group for passage in task.passages]
            for first in range(0, len(work), self.batch):
                batch = work[first : first + self.batch]
                self.store.upsert(collection, self._points(batch))
                written += len(batch)
                if on_written:
                    on_written(written, total)
            self.store.flush(collection)
            self.store.delete(collection, sorted(frozenset().union(*(task.stale for task in group))))
            for task in group:
                done += 1
                if on_progress:
                    on_progress(done, len(todo), task.document_id)

    def _points(self, work: Sequence[tuple[_Task, Passage]]) -> list[Point]:
        texts = [passage_text(passage) for _, passage in work]
        vectors = self.embedder.embed_passages(texts)
        points = []
        for (task, passage), text, vector in zip(work, texts, vectors, strict=True):
            version = {"fingerprint": task.fingerprint, "pieces": len(task.passages)}
            payload = {**to_payload(passage), **version, **self.partition.marks()}
            points.append(Point(self.partition.point_id(passage.id), vector.tolist(), self.bm25.passage(text), payload))
        return points

    def _remove(self, collection: str, stored: Mapping[str, _DocumentPoints], removed: Iterable[str]) -> None:
        self.store.delete(collection, sorted(found for name in removed for found in stored[name].points))


def fingerprint(document: Document, chunking: Chunking, bm25: Bm25Encoder) -> str:
    """16 hex digits over all that determines the points of a document, except the encoder, to which the collection is bound.

    The place of its file is left out: that is no part of what is embedded, and changes if the folder is moved.
    """
    parts: list[Any] = [_FORMAT, document.digest, document.title, chunking.max_chars, chunking.min_chars]
    parts += [bm25.settings.to_dict(), dict(document.metadata)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _groups(todo: Sequence[_Task], passages: int) -> Iterator[list[_Task]]:
    """Groups of documents with at least a batch of passages, so that small files do not make small batches."""
    group: list[_Task] = []
    for task in todo:
        group.append(task)
        if sum(len(member.passages) for member in group) >= passages:
            yield group
            group = []
    if group:
        yield group


def belongs(document_id: str, path: str) -> bool:
    """Whether a document came from the file `path`: the file itself or a row of it."""
    return document_id == path or document_id.startswith(f"{path}#")
