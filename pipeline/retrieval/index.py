"""The index: a collection bound to the encoder that filled it, and searches in it.

The index's name is an alias. A rebuild fills a new collection next to the old one and switches the alias in one step.

    NAME              the collection that is searched and written to
    NAME.previous     the one before the last rebuild, for `rollback`
    NAME.other        if that was filled by the same encoder: the last one that another encoder filled
    NAME.building     the one that a rebuild fills

Of the first three an `Index` uses the one that its encoder can search. So the choice of the encoder decides both, and a kill
cannot leave them inconsistent. A collection belongs to the project that filled it, and only its own are dropped. An `Index`
shows one tenant's documents, filtered by the store in every operation. Knows nothing of models, adapters or answers.
"""

from __future__ import annotations

import copy
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

from lorag.pipeline.contracts.embed import query_text
from lorag.pipeline.errors import IndexMismatch, IndexOwned, InputError, NothingIngested, StoreError
from lorag.pipeline.records import Document, Hit, Passage
from lorag.pipeline.retrieval.account import FileAccount, FileStatus
from lorag.pipeline.retrieval.bm25 import Bm25Encoder, Bm25Settings
from lorag.pipeline.retrieval.embedder import Embedder
from lorag.pipeline.retrieval.encoder_identity import EncoderIdentity
from lorag.pipeline.retrieval.ingest import Chunking, Ingester, IngestReport, Progress, Written, no_documents, unread
from lorag.pipeline.retrieval.late_interaction import CACHE_BYTES, POOL, LateInteraction
from lorag.pipeline.retrieval.loading import Loaded, LoadedFile, load_folder
from lorag.pipeline.retrieval.partition import ORIGIN, UPLOADS, Partition, check_tenant, file_name, partition_of, tenant_filter
from lorag.pipeline.retrieval.payload import FIELDS, from_payload, payload_filter
from lorag.pipeline.retrieval.remembered import RememberedQuestions
from lorag.pipeline.retrieval.store import Filter, Search, Sparse, VectorStore, check_name
from lorag.pipeline.retrieval.token_cache import TokenCache
from lorag.pipeline.retrieval.twins import fold_twins
from lorag.pipeline.retrieval.weights import SearchWeights

log = logging.getLogger("lorag")

TIES = 10
"""Hits fetched beyond twice the requested number. The engine returns equal cosines in any order. Ties are ordered by passage, so
that a question always finds the same passages."""

DEEPER = 3
"""Times that a search is made, each four times as deep, before identical passages may leave it short of distinct ones."""

UPLOAD_BATCH = 8
"""Passages of an upload embedded at a time: few, because questions wait for the same encoder meanwhile."""


OWNER = "owner"
"""The key of a collection's metadata for the id of its project."""

ENCODER = "encoder"
"""The key of a collection's metadata for the identity of the encoder that filled it."""


class Owner(Protocol):
    """The project that an index is opened for."""

    @property
    def file(self) -> Path:
        """The file with the project's id, for messages."""
        ...

    def current_id(self) -> str:
        """The project's id, '' if it has none yet."""
        ...

    def ensure_id(self) -> str:
        """The project's id, made and stored now if it has none."""
        ...

    def on_adopted(self, collection: str) -> None:
        """Called after the project adopted a collection that had no owner."""
        ...


def _best(hits: list[Hit], k: int) -> list[Hit]:
    return fold_twins(sorted(hits, key=lambda hit: (-hit.score, hit.passage.id)))[:k]


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """The collection of the name, the number of the tenant's passages in it, its encoder, and the collection that `rollback`
    restores (empty: none)."""

    location: str
    collection: str
    passages: int
    encoder: EncoderIdentity
    previous: str


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file whose passages the index holds. `source` is its name in citations, `name` that of `file_name`; `documents` counts
    the rows of a .jsonl."""

    source: str
    name: str
    title: str
    documents: int
    passages: int
    uploaded: bool


class Index:
    """One tenant's passages in `store`, embedded by `embedder`. Nothing is opened or loaded until an operation needs it.

    Without `tenant` they are the project's own. `owner` is the project; without one owners of collections are not checked.
    `token_cache` bytes hold token vectors for late interaction.

    Every operation may raise StoreError, IndexOwned if the collection is another project's; those that compare vectors raise
    IndexMismatch if another encoder filled the collection.
    """

    def __init__(
        self,
        store: VectorStore,
        embedder: Embedder,
        *,
        name: str = "passages",
        chunking: Chunking | None = None,
        bm25: Bm25Settings | None = None,
        weights: SearchWeights | None = None,
        token_cache: int = CACHE_BYTES,
        tenant: str = "",
        owner: Owner | None = None,
    ) -> None:
        check_name(name)
        self._store = store
        self._embedder = embedder
        self._name = name
        self._chunking = chunking or Chunking()
        self._bm25 = Bm25Encoder(bm25)
        self._weights = weights or SearchWeights()
        self._tokens = TokenCache(token_cache)
        self._late = LateInteraction(embedder, self._tokens)
        self._checked: set[str] = set()
        self._searchable: set[str] = set()
        self._owner = owner
        self._owned: set[str] = set()
        self._tenant = check_tenant(tenant)
        self._pinned = ""

    @property
    def embedder(self) -> Embedder:
        """The encoder of questions and passages."""
        return self._embedder

    def for_tenant(self, tenant: str) -> Self:
        """The index of `tenant`, on the same store and encoder. Raises InputError for a bad name."""
        view = copy.copy(self)
        view._tenant = check_tenant(tenant)
        return view

    def weighted(self, weights: SearchWeights) -> Self:
        """The same index, searched with other weights."""
        view = copy.copy(self)
        view._weights = weights
        return view

    def remembering(self) -> Self:
        """The same index, which embeds each question once, for those who search for the same questions many times."""
        view = copy.copy(self)
        view._embedder = RememberedQuestions(self._embedder)
        view._late = LateInteraction(view._embedder, self._tokens)
        return view

    def pinned(self) -> Self:
        """The same index, searched in the collection that has the name now, also after the name is switched. Raises
        StoreError."""
        view = copy.copy(self)
        view._pinned = self._resolve()
        return view

    def ingest(self, folder: Path, *, rebuild: bool = False, on_progress: Progress | None = None) -> IngestReport:
        """Update the index from `folder`: add, replace and remove documents that differ in content.

        Uploads and other tenants' documents are unchanged. With `rebuild`, and the first time, a new collection is filled and
        then gets the name in one step; the old one is searched meanwhile. A killed run that is repeated ends as an
        uninterrupted one.

        The report accounts for every file. One that cannot be read keeps its old version, also in a rebuild. If all files are
        gone, all documents are removed.

        Raises:
            NoDocuments: there is no index yet, and the folder has no usable document.
            InputError: the folder cannot be opened.
            IndexMismatch: another encoder filled the index and `rebuild` is False.
        """
        current = self._writable()
        if current is not None and not rebuild:
            self._check(current)
        loaded = load_folder(folder)
        if current is None and not loaded.documents:
            raise no_documents(folder, loaded)
        ingester = self._ingester(uploaded=False)
        if current is not None and not rebuild:
            return ingester.run(current, loaded, on_progress)
        target = self._building(current)
        if current is not None:
            ingester.carry_over(current, target, unread(loaded.accounts), on_progress)
        report = ingester.run(target, loaded, on_progress)
        self._switch(target, current)
        return report

    def replace_all(self, passages: Sequence[Passage], on_added: Callable[[int, int], None] | None = None) -> None:
        """Fill a new collection with exactly these passages, and switch the name to it. `on_added` gets passages done and all."""
        current = self._writable()
        target = self._building(current)
        self._ingester(uploaded=False).add(target, passages, on_added)
        self._switch(target, current)

    def put(
        self, name: str, documents: Sequence[Document], *, in_part: bool = False, on_written: Written | None = None
    ) -> IngestReport:
        """Store `documents`, the content of the uploaded file `name`, and replace an earlier upload of that name.

        With `in_part` there is more in the file, which could not be read: older rows of it that are not replaced are kept.

        A killed run that is repeated ends as an uninterrupted one. Raises IndexMismatch, and InputError if no document gives a
        passage; the index is then unchanged.
        """
        if not any(self._chunking.cut(document) for document in documents):
            raise InputError(f"{name}: holds no passage, only rules or white space")
        current = self._writable()
        if current is None:
            current = self._building(None)
            self._switch(current, None)
        self._check(current)
        stored = tuple(replace(document, id=f"{UPLOADS}/{document.id}", source=name) for document in documents)
        account = FileAccount(name, FileStatus.IN_PART if in_part else FileStatus.READ, documents=len(stored))
        loaded = Loaded((LoadedFile(account, stored),))
        return self._ingester(uploaded=True).run(current, loaded, file=name, on_written=on_written)

    def remove(self, name: str) -> int:
        """Delete the uploaded file `name`, also from the collections kept for `rollback`; returns the number of its passages.

        A flush that fails is logged alone: the passages are gone for every search and after a kill. After a power cut they may be
        back, and the caller, whose file is gone, removes them again.
        """
        aliases, partition = self._store.aliases(), Partition(self._tenant, uploaded=True)
        removed = 0
        roles = (self._alias(role) for role in ("other", "previous", "building"))
        for role in (*roles, self._name):  # the searched collection last
            if (collection := aliases.get(role)) is None or not self._store.exists(collection):
                continue
            self._adopt(collection)
            points = self._store.scroll(collection, keys=("source",), filter=partition.filter())
            found = [point.id for point in points if point.payload.get("source") == name]
            self._store.delete(collection, found)
            try:
                self._store.flush(collection)
            except StoreError as error:
                log.error("%s", error)
            removed = len(found)
        return removed

    def files(self) -> list[IndexedFile]:
        """The tenant's files, by source; empty if nothing was ingested yet."""
        collection = self._found()
        if collection is None:
            return []
        titles: dict[tuple[str, bool], dict[str, str]] = {}
        passages: Counter[tuple[str, bool]] = Counter()
        keys = ("document_id", "source", "title", ORIGIN)
        for point in self._store.scroll(collection, keys=keys, filter=tenant_filter(self._tenant)):
            file = (str(point.payload["source"]), partition_of(point.payload).uploaded)
            passages[file] += 1
            titles.setdefault(file, {})[str(point.payload["document_id"])] = str(point.payload["title"])
        return [
            IndexedFile(
                source=source,
                name=file_name(next(iter(found)), source),
                title=next(iter(found.values())) if len(found) == 1 else "",
                documents=len(found),
                passages=passages[source, up],
                uploaded=up,
            )
            for (source, up), found in sorted(titles.items())
        ]

    def search(self, question: str, k: int, *, hybrid: bool = True, filter: Filter | None = None) -> list[Hit]:
        """At most `k` passages with different texts, best first; see `search_many`."""
        return self.search_many([question], k, hybrid=hybrid, filter=filter)[0]

    def search_many(
        self,
        questions: Sequence[str],
        k: int,
        *,
        hybrid: bool = True,
        filter: Filter | None = None,
        contexts: Sequence[str] = (),
    ) -> list[list[Hit]]:
        """Hits for each question, embedded in one batch.

        `contexts` are the conversations before, one a question, '' for none; a hybrid search counts their words and tokens with
        the weight of the history.

        Identical passages share a place (`twins`), so `k` counts different texts.

        `hybrid` adds up the scores of vectors, BM25 words and late interaction, as the index's weights say; otherwise hits are
        found by vectors alone and scores are cosines.
        `filter` keys are `document_id`, `source`, `title`, `section` or metadata keys such as `folder`.

        Raises:
            InputError: an empty question, k below 1, or a bad filter.
        """
        if k < 1:
            raise InputError(f"k={k}: ask for at least one passage")
        texts = [query_text(question) for question in questions]
        if not all(texts):
            raise InputError("the question is empty; write what you want to know")
        collection = self._current()
        if not texts:
            return []
        late = hybrid and self._weights.tokens > 0
        pool = max(POOL, k) if late else k
        vectors = self._embedder.embed_queries(texts)
        share = self._weights.words_share
        before = contexts or [""] * len(texts)
        searches = [
            Search(vector.tolist(), self._words(text, context) if hybrid and share else None, share)
            for vector, text, context in zip(vectors, texts, before, strict=True)
        ]
        hits = self._distinct(collection, searches, pool, payload_filter(self._tenant, filter))
        if not late:
            return hits
        return self._late.rerank_many(texts, hits, k, self._weights, before)

    def _distinct(self, collection: str, searches: Sequence[Search], pool: int, filter: Filter) -> list[list[Hit]]:
        """At most `pool` hits of each search, with identical passages in one place.

        A search whose results hold too many of those is repeated for more of them.
        """
        hits: list[list[Hit]] = [[] for _ in searches]
        wanted, limit = list(range(len(searches))), 2 * pool + TIES
        for _ in range(DEEPER):
            found = self._store.search(collection, [searches[at] for at in wanted], limit, filter=filter)
            for at, points in zip(wanted, found, strict=True):
                hits[at] = _best([Hit(from_payload(point.payload), point.score) for point in points], pool)
            wanted = [at for at, points in zip(wanted, found, strict=True) if len(points) == limit and len(hits[at]) < pool]
            if not wanted:
                break
            limit *= 4
        return hits

    def _words(self, question: str, context: str) -> Sparse:
        """The question's words, each with weight 1, and those that only the context has."""
        words = self._bm25.query(question)
        if not (context and self._weights.history):
            return words
        held = set(words.indices)
        more = tuple(index for index in self._bm25.query(context).indices if index not in held)
        return Sparse(words.indices + more, words.values + (self._weights.history,) * len(more))

    def passages(self, filter: Filter | None = None) -> Iterator[Passage]:
        """All passages of the tenant, or those that match, in an arbitrary but constant order."""
        for point in self._store.scroll(self._resolve(), filter=payload_filter(self._tenant, filter)):
            yield from_payload(point.payload)

    def info(self) -> IndexInfo:
        """Facts about the collection of the name. Raises StoreError if nothing was ingested yet."""
        collection = self._resolve()
        aliases = self._store.aliases()
        kept = (aliases.get(role, "") for role in (self._alias("previous"), self._name))
        previous = next((name for name in kept if name != collection), "")
        passages = self._store.count(collection, tenant_filter(self._tenant))
        return IndexInfo(self._store.location, collection, passages, self.filled_by(collection), previous)

    def rollback(self) -> str:
        """Swap the current collection with the one before the last rebuild, and return its name.

        Raises:
            StoreError: there is none.
        """
        aliases = self._store.aliases()
        current, previous = aliases.get(self._name), aliases.get(self._alias("previous"))
        if current is None:
            raise self._empty()
        if previous is None:
            raise StoreError(f"index {self._store.location}: no earlier collection to roll back to; there was no rebuild yet")
        for collection in (current, previous):
            self._adopt(collection)
        self._store.set_aliases({self._name: previous, self._alias("previous"): current})
        return previous

    def is_searchable(self) -> bool:
        """Whether there is a collection that this encoder can search, or no collection yet."""
        collection = self._found()
        return collection is None or self._can_search(collection)

    def switch_to_searchable(self) -> str:
        """Switch the name to the collection that this encoder can search, if that is a kept one.

        Returns that collection, '' if nothing changed. Searches find it without this; writing needs it.
        """
        collection, aliases = self._found(), self._store.aliases()
        if collection is None or collection == (current := aliases[self._name]):
            return ""
        for each in (current, collection):
            self._adopt(each)
        changes: dict[str, str | None] = {self._name: collection, self._alias("previous"): current}
        if collection == aliases.get(self._alias("other")):
            changes[self._alias("other")] = aliases.get(self._alias("previous"))
        self._store.set_aliases(changes)
        return collection

    def flush(self) -> None:
        """Make everything that was written to the searched collection survive a power cut. Raises StoreError."""
        if (collection := self._found()) is not None:
            self._store.flush(collection)

    def close(self) -> None:
        self._store.close()

    def _ingester(self, *, uploaded: bool) -> Ingester:
        partition = Partition(self._tenant, uploaded)
        ingester = Ingester(self._store, self._embedder, self._bm25, self._chunking, partition)
        return replace(ingester, batch=UPLOAD_BATCH) if uploaded else ingester

    def _alias(self, role: str) -> str:
        return f"{self._name}.{role}"

    def _resolve(self) -> str:
        collection = self._pinned or self._found()
        if collection is None:
            raise self._empty()
        return collection

    def _empty(self) -> NothingIngested:
        return NothingIngested(f"index {self._store.location}: nothing ingested yet; run `lorag ingest` first")

    def _found(self) -> str | None:
        """The collection of the name, or a kept one if only that can be searched by this encoder."""
        aliases = self._store.aliases()
        current = aliases.get(self._name)
        if current is None:
            return None
        kept = (aliases.get(self._alias(role)) for role in ("previous", "other"))
        found = next((each for each in (current, *kept) if each is not None and self._can_search(each)), current)
        self._require_owned(found)
        return found

    def _can_search(self, collection: str) -> bool:
        if collection not in self._searchable:
            try:
                filled = self.filled_by(collection)
            except StoreError:
                return False
            if not self._embedder.identity.can_search(filled):
                return False
            self._searchable.add(collection)
        return True

    def _writable(self) -> str | None:
        """The collection to write to, owned by this project from now on; None if there is none yet."""
        self.switch_to_searchable()
        collection = self._found()
        if collection is not None:
            self._adopt(collection)
        return collection

    def _require_owned(self, collection: str) -> str:
        """The id of the collection's owner, '' if it has none. Raises IndexOwned if the owner is another project."""
        if self._owner is None or collection in self._owned:
            return ""
        owner = str(self._store.metadata(collection).get(OWNER, ""))
        if owner and owner != self._owner.current_id():
            raise IndexOwned(
                f"index {self._store.location}: collection {collection} is another project's; set `store.collection` to a name "
                f"that no other project has there (if it was this one's: put {owner} into {self._owner.file})"
            )
        if owner:
            self._owned.add(collection)
        return owner

    def _adopt(self, collection: str) -> None:
        """Before writing to a collection: if no project owns it (an earlier LoRAG filled it), this project becomes its owner.

        Raises StoreError if no LoRAG made it.
        """
        if self._owner is None or collection in self._owned or self._require_owned(collection):
            return
        if ENCODER not in self._store.metadata(collection):
            raise self._unknown_encoder(collection)
        self._store.set_metadata(collection, {OWNER: self._owner.ensure_id()})
        self._require_owned(collection)  # two projects may have adopted it at once
        self._owner.on_adopted(collection)

    def _current(self) -> str:
        collection = self._resolve()
        self._check(collection)
        return collection

    def filled_by(self, collection: str) -> EncoderIdentity:
        """The encoder of a collection's passages. Raises StoreError if the collection does not name it."""
        try:
            return EncoderIdentity.from_dict(self._store.metadata(collection)[ENCODER])
        except (KeyError, TypeError) as error:
            raise self._unknown_encoder(collection) from error

    def _unknown_encoder(self, collection: str) -> StoreError:
        is_lorags = self._store.metadata(collection).keys() & {OWNER, ENCODER}
        rename = "it may be another program's: set `store.collection` to a name that nobody uses there"
        advice = "run `lorag ingest --rebuild`" if is_lorags else rename
        return StoreError(f"index {self._store.location}: collection {collection} does not say what filled it; {advice}")

    def _check(self, collection: str) -> None:
        if collection in self._checked:
            return
        filled, encoder = self.filled_by(collection), self._embedder.identity
        words = self._store.metadata(collection).get("bm25")
        if not encoder.can_search(filled):
            what = f"was filled by {filled.describe()} and cannot be searched by {encoder.describe()}"
        elif words != self._bm25.settings.to_dict():
            what = f"was filled with BM25 settings {words}, not {self._bm25.settings.to_dict()}"
        else:
            self._checked.add(collection)
            return
        raise IndexMismatch(f"index {self._store.location} {what}; run `lorag ingest --rebuild`, or set it back")

    def _building(self, current: str | None) -> str:
        """The collection to fill: one left by an interrupted build with the same encoder, else a new one."""
        aliases = self._store.aliases()
        unfinished = aliases.get(self._alias("building"))
        if unfinished is not None and self._store.exists(unfinished):
            self._adopt(unfinished)
            try:
                self._check(unfinished)
            except StoreError:
                pass
            else:
                return unfinished
        kept = {current, *(aliases.get(self._alias(role)) for role in ("previous", "other"))}
        number = 1
        if self._name in self._store.names():
            raise StoreError(
                f"index {self._store.location}: a collection is named {self._name} already, which LoRAG needs as an alias; set "
                "`store.collection` to another name"
            )
        self._store.set_aliases({self._alias("building"): None})
        for name in self._store.names():
            if match := re.fullmatch(re.escape(self._name) + r"-(\d+)", name):
                number = max(number, int(match.group(1)) + 1)
                self._require_owned(name)
                if name not in kept and (self._owner is None or OWNER in self._store.metadata(name)):
                    self._store.drop(name)  # one without an owner and without an alias may be another program's
        target = f"{self._name}-{number}"
        metadata: dict[str, Any] = {ENCODER: self._embedder.identity.to_dict(), "bm25": self._bm25.settings.to_dict()}
        if self._owner is not None:
            metadata[OWNER] = self._owner.ensure_id()
        self._store.create(target, self._embedder.dimension, metadata, FIELDS)
        self._store.set_aliases({self._alias("building"): target})
        return target

    def _switch(self, target: str, current: str | None) -> None:
        """Change the aliases atomically, then drop the collections that are no longer needed.

        The last one of another encoder stays through any number of rebuilds: a rollback of the encoder needs it.
        """
        aliases = self._store.aliases()
        kept = (aliases.get(self._alias(role)) for role in ("previous", "other"))
        before = [name for name in kept if name is not None and self._store.exists(name)]
        other = None
        if current is not None and self._same_encoder(current, target):
            other = next((name for name in before if not self._same_encoder(name, target)), None)
        changes = {"previous": current, "other": other, "building": None}
        self._store.set_aliases({self._name: target, **{self._alias(role): name for role, name in changes.items()}})
        for name in before:
            if name not in (target, current, other):
                self._require_owned(name)
                self._store.drop(name)

    def _same_encoder(self, one: str, other: str) -> bool:
        return bool(self._store.metadata(one).get(ENCODER) == self._store.metadata(other).get(ENCODER))
