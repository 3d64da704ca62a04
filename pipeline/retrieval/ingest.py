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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Document, Passage
from lorag.pipeline.retrieval.account import FileAccount, FileStatus, printable
from lorag.pipeline.retrieval.bm25 import Bm25Encoder
from lorag.pipeline.retrieval.chunking import TokenBound, chunk
from lorag.pipeline.retrieval.embedder import Embedder, passage_text
from lorag.pipeline.retrieval.loading import KINDS, Loaded, LoadedFile
from lorag.pipeline.retrieval.partition import PARTITION_FIELDS, Partition, file_name, partition_of, tenant_filter
from lorag.pipeline.retrieval.payload import FILE_FIELDS, from_payload, metadata_fields, to_payload
from lorag.pipeline.retrieval.store import Point, StoredPoint, VectorStore
from lorag.pipeline.storage.strict_json import OPTIONAL

_FORMAT = 2
"""Incremented when loading or chunking changes its output, so that every document counts as changed."""

NAMED_IN_ERROR = 3
"""Files named in the message of a first ingest that finds no document."""

_STAYS = "its old version stays searchable"

Progress = Callable[[int, int, str], None]
"""Called with (documents done, documents in all, id of the last one)."""

Written = Callable[[int, int], None]
"""Called with (passages written, passages in all)."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did. `added`, `changed`, `unchanged` and `removed` count documents; `passages` is the tenant's total.

    `files` is the account of everything that was seen, one each. `gone` names the files that are no longer there, whose documents
    were removed. `advice` are lines on languages that the settings do not fit.
    """

    collection: str
    added: int
    changed: int
    unchanged: int
    removed: int
    files: tuple[FileAccount, ...]
    gone: tuple[str, ...]
    passages: int
    advice: tuple[str, ...] = field(default=(), metadata=OPTIONAL)

    def of(self, *statuses: FileStatus) -> tuple[FileAccount, ...]:
        """The accounts with one of these statuses."""
        return tuple(file for file in self.files if file.status in statuses)


class NoDocuments(InputError):
    """A first ingest found no document. `files` is the account of what it saw."""

    def __init__(self, message: str, files: tuple[FileAccount, ...]) -> None:
        super().__init__(message)
        self.files = files


@dataclass(frozen=True, slots=True)
class Chunking:
    """The sizes for `chunk`: characters, and what the encoder reads at once if `tokens` counts it."""

    max_chars: int = 700
    min_chars: int = 120
    tokens: TokenBound | None = None

    def cut(self, document: Document) -> tuple[Passage, ...]:
        """The passages of `document`."""
        return chunk(document, max_chars=self.max_chars, min_chars=self.min_chars, tokens=self.tokens)


@dataclass(slots=True)
class _DocumentPoints:
    """A document's stored points: point id → (fingerprint, number of points of that version), and the places of their file."""

    points: dict[str, tuple[str, int]] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)

    def is_done(self, fingerprint: str) -> bool:
        return set(self.points.values()) == {(fingerprint, len(self.points))}

    def is_older(self, fingerprint: str) -> bool:
        return any(found != fingerprint for found, _ in self.points.values())

    def file(self, document_id: str) -> str:
        """The path of its file, as in a `FileAccount`."""
        return printable(file_name(document_id, min(self.sources, default="")))


@dataclass(frozen=True, slots=True)
class _Task:
    """A document to write; `stale` are the points to delete afterwards."""

    document_id: str
    passages: tuple[Passage, ...]
    fingerprint: str
    stale: frozenset[str]


@dataclass(slots=True)
class _Plan:
    """What a run has to do. `stored` loses the documents that are there still: what is left is removed, except `kept`."""

    stored: dict[str, _DocumentPoints]
    todo: list[_Task] = field(default_factory=list)
    moved: list[tuple[list[str], str]] = field(default_factory=list)
    """Points whose file has another path now, and that path."""
    kept: set[str] = field(default_factory=set)
    files: list[FileAccount] = field(default_factory=list)
    added: int = 0
    changed: int = 0
    unchanged: int = 0

    def removed(self) -> list[str]:
        return [name for name in self.stored if name not in self.kept]


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

        With `file`, the name of an upload, only that file's documents are compared and replaced.

        Raises:
            StoreError: the store failed; written points stay and count in the next run.
        """
        plan = _Plan(self._stored_points(collection, file))
        by_file: dict[str, list[str]] = {}
        for document_id, known in plan.stored.items():
            by_file.setdefault(known.file(document_id), []).append(document_id)
        for each in loaded.files:
            self._plan_file(plan, each)
        self._keep_failed(plan, by_file)
        self._add_fields(collection, (document.metadata for document in loaded.documents if not self.partition.uploaded))
        for points, source in plan.moved:
            self.store.set_payload(collection, points, {"source": source})
        self._write(collection, plan.todo, on_progress, on_written)
        removed = plan.removed()
        self._remove(collection, plan.stored, removed)
        if plan.todo or removed:
            self.store.optimise(collection)
        if plan.todo or removed or plan.moved:
            self.store.flush(collection)
        seen = {each.path for each in plan.files}
        gone = sorted({plan.stored[name].file(name) for name in removed} - seen)
        total = self.store.count(collection, tenant_filter(self.partition.tenant))
        counted = (plan.added, plan.changed, plan.unchanged, len(removed))
        return IngestReport(collection, *counted, tuple(plan.files), tuple(gone), total)

    def _plan_file(self, plan: _Plan, file: LoadedFile) -> None:
        """Plan the documents of one file, and account for it."""
        account, empty, broken = file.account, 0, 0
        for document in file.documents:
            known = plan.stored.get(document.id, _DocumentPoints())
            version = fingerprint(document, self.chunking, self.bm25)
            if known.is_done(version):
                plan.unchanged += 1
                if known.sources != {document.source}:  # the project's folder was moved, or is opened by another path
                    plan.moved.append((sorted(known.points), document.source))
                plan.stored.pop(document.id)
                continue
            try:
                passages = self.chunking.cut(document)
            except Exception as error:  # a text that breaks the splitter must not stop the others
                broken += 1
                reason = f"cannot be cut ({type(error).__name__}: {str(error)[:200]}); please report it"
                account = account.noting(f"{document.id}: {reason}")
                plan.kept |= {document.id} & plan.stored.keys()
                continue
            if not passages:
                empty += 1
                continue
            older = known.is_older(version)
            plan.added, plan.changed = plan.added + (not older), plan.changed + older
            written = {self.partition.point_id(passage.id) for passage in passages}
            plan.todo.append(_Task(document.id, passages, version, frozenset(known.points) - written))
            plan.stored.pop(document.id, None)
        plan.files.append(_judged(account, len(file.documents), empty, broken))

    def _keep_failed(self, plan: _Plan, by_file: Mapping[str, Sequence[str]]) -> None:
        """Keep the stored documents of files that failed and of folders that were not entered, and say what becomes of old
        versions."""
        failed = unread(plan.files)
        holders: dict[str, int] = {}
        for name, ids in by_file.items():
            holder = _holder(name, failed)
            if holder and (left := plan.stored.keys() & set(ids)):
                plan.kept |= left
                holders[holder] = holders.get(holder, 0) + len(left)
        for number, each in enumerate(plan.files):
            if each.path in holders and each.status is FileStatus.IN_PART:
                plan.files[number] = each.noting(f"{holders[each.path]} of its older rows stay searchable")
            elif each.path in holders:
                note = _STAYS if not each.path.endswith("/") else "what it held stays searchable"
                kept = each.noting(note, status=FileStatus.KEPT)
                plan.files[number] = replace(kept, documents=holders[each.path])
            elif each.status is FileStatus.LEFT_ALONE and each.path in by_file:
                plan.files[number] = each.noting("its old version was removed from the index")

    def add(self, collection: str, passages: Sequence[Passage], on_added: Callable[[int, int], None] | None = None) -> None:
        """Write ready passages. They belong to no document, so a later `run` removes them. `on_added` gets done and total."""
        self._add_fields(collection, (passage.metadata for passage in passages))
        task = _Task("", tuple(passages), "", frozenset())
        for first in range(0, len(passages), self.batch):
            part = passages[first : first + self.batch]
            self.store.upsert(collection, self._points([(task, passage) for passage in part]))
            if on_added is not None:
                on_added(first + len(part), len(passages))
        self.store.optimise(collection)
        self.store.flush(collection)

    def carry_over(self, source: str, target: str, failed: Collection[str] = (), on_progress: Progress | None = None) -> None:
        """Copy the other partitions of `source` to `target`, and of this one what came from the files `failed`, every passage
        embedded again. May be run again.

        Passages are not cut again, so other chunk sizes take effect when a document is uploaded again. `on_progress` counts
        passages.
        """
        keys = ("fingerprint", *PARTITION_FIELDS)
        present = {point.id: point for point in self.store.scroll(target, keys=keys)}
        others = {name for name, point in present.items() if partition_of(point.payload) != self.partition}
        total = sum(1 for _ in self._to_carry(source, failed, keys=("document_id", "source", *PARTITION_FIELDS)))
        batch: list[StoredPoint] = []
        for done, point in enumerate(self._to_carry(source, failed), start=1):
            others.discard(point.id)
            there = present.get(point.id)
            if there is None or there.payload.get("fingerprint") != point.payload.get("fingerprint"):
                batch.append(point)
            if len(batch) == self.batch:
                self._copy(target, batch)
                batch = []
            if on_progress:
                on_progress(done, total, str(point.payload["document_id"]))
        self._copy(target, batch)
        self.store.delete(target, sorted(others))
        self.store.flush(target)

    def _to_carry(self, source: str, failed: Collection[str], keys: Sequence[str] | None = None) -> Iterator[StoredPoint]:
        for point in self.store.scroll(source, keys=keys):
            file = printable(file_name(str(point.payload["document_id"]), str(point.payload["source"])))
            if partition_of(point.payload) != self.partition or _holder(file, failed):
                yield point

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
            document_id, source = str(point.payload.get("document_id", "")), str(point.payload.get("source", ""))
            if file is None or file_name(document_id, source) == file:
                entry = stored.setdefault(document_id, _DocumentPoints())
                entry.sources.add(source)
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


def no_documents(folder: Path, loaded: Loaded) -> NoDocuments:
    """The error of a first ingest that has nothing to put into an index."""
    tried = [each for each in loaded.accounts if each.status is FileStatus.FAILED] or list(loaded.accounts)
    detail = "; ".join(map(str, tried[:NAMED_IN_ERROR])) or "it is empty"
    more = f"; and {len(tried) - NAMED_IN_ERROR} more" if len(tried) > NAMED_IN_ERROR else ""
    return NoDocuments(
        f"{folder}: no document that can be used ({detail}{more}); put {' '.join(KINDS)} files there", loaded.accounts
    )


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


def unread(files: Iterable[FileAccount]) -> set[str]:
    """The paths of files and folders of which the index keeps what it cannot replace: they failed, or rows are missing."""
    return {each.path for each in files if each.status in (FileStatus.FAILED, FileStatus.IN_PART)}


def _judged(account: FileAccount, documents: int, empty: int, broken: int) -> FileAccount:
    """The account after cutting: `empty` of the documents gave no passage, and `broken` could not be cut."""
    if not documents:
        return account
    if broken == documents:
        return replace(account, status=FileStatus.FAILED, documents=0)
    if empty == documents:
        note = "holds no passage, only rules or white space"
        return replace(account.noting(note, status=FileStatus.LEFT_ALONE), documents=0)
    if empty:
        account = account.noting(f"{empty} of its {documents} documents hold no passage, only rules or white space")
    return replace(account, status=FileStatus.IN_PART, documents=documents - broken) if broken else account


def _holder(file: str, failed: Collection[str]) -> str:
    """The member of `failed` that a file's documents are kept for: the file, or a folder above it that was not entered; '' if
    none."""
    if file in failed:
        return file
    ends = (at for at, letter in enumerate(file, start=1) if letter == "/")
    return next((file[:end] for end in ends if file[:end] in failed), "")
