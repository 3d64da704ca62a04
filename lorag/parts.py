"""The open parts of a project: store, text encoder, index, base, chain. Each is opened once, when it is first needed.

Loading happens under one lock, so two threads that need the same part get the same one. Knows no use case.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lorag.assembly import (
    SharedBase,
    open_base,
    open_chain,
    open_embedder,
    open_index,
    open_reranker,
    open_retriever,
    open_store,
    update_adapters,
)
from lorag.pipeline.config import NO_ADAPTER, Settings
from lorag.pipeline.errors import ProjectClosed
from lorag.pipeline.records import Role

if TYPE_CHECKING:
    from lorag.pipeline.adapters.registry import Version
    from lorag.pipeline.chain import Chain
    from lorag.pipeline.engine.protocol import Engine
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.pipeline.retrieval.index import Index
    from lorag.pipeline.retrieval.rerank import Reranker
    from lorag.pipeline.retrieval.store import VectorStore
    from lorag.pipeline.stages import Retriever


class Parts:
    """The open parts of one project. `engine` and `embedder` replace those that the settings describe. Thread-safe.

    Every method raises ProjectClosed after `close`, and what the function of `lorag.assembly` that opens the part raises.
    """

    def __init__(self, settings: Settings, *, engine: Engine | None = None, embedder: Embedder | None = None) -> None:
        self._settings = settings
        self._given_engine, self._given_embedder = engine, embedder
        self._lock = threading.RLock()
        self._closers = ExitStack()
        self._closed = self._adapters_changed = False
        self._store: VectorStore | None = None
        self._index: Index | None = None
        self._base: SharedBase | None = None
        self._chain: Chain | None = None
        self._reranker = open_reranker(settings)

    def require_open(self) -> None:
        """Raises ProjectClosed after `close`."""
        if self._closed:
            raise ProjectClosed(f"the project with the documents {self._settings.documents} is closed; open it again")

    def store(self) -> VectorStore:
        with self._lock:
            self.require_open()
            if self._store is None:
                self._store = open_store(self._settings)
                self._closers.callback(self._store.close)
            return self._store

    def index(self) -> Index:
        """The index, searched with the encoder that the settings name."""
        with self._lock:
            self.require_open()
            if self._index is None:
                self._index = open_index(self._settings, self._given_embedder or open_embedder(self._settings), self.store())
            return self._index

    def index_for(self, version: Version | None) -> tuple[Embedder, Index]:
        """The text encoder with this version of its adapter, loaded, and the index that it searches."""
        choice = self._settings.adapters.model_copy(update={"embedder": version.id if version else NO_ADAPTER})
        chosen = self._settings.model_copy(update={"adapters": choice})
        embedder = self._given_embedder or open_embedder(chosen)
        assert embedder.dimension  # loads the model now, not at the first question
        return embedder, open_index(chosen, embedder, self.store())

    def base(self) -> SharedBase:
        """The engine with the adapters that the settings name."""
        with self._lock:
            self.require_open()
            if self._base is None:
                given = self._given_engine
                self._set_base(open_base(self._settings) if given is None else SharedBase(given, {}))
            elif self._adapters_changed:
                self._set_base(update_adapters(self._base, self._settings))
            assert self._base is not None
            self._adapters_changed = False
            return self._base

    def _set_base(self, base: SharedBase) -> None:
        if (self._base is None or self._base.engine is not base.engine) and hasattr(base.engine, "close"):
            self._closers.callback(base.engine.close)
        self._base = base

    def chain(self) -> Chain:
        """The chain that answers questions. Raises StoreError for a missing index before a model is loaded."""
        with self._lock:
            self.require_open()
            if self._chain is None:
                index = self.index()
                index.info()
                self.release_store()  # models load for seconds, and other processes may wait
                self._chain = open_chain(self._settings, index=index, base=self.base(), retriever=self.retriever())
            return self._chain

    def retriever(self) -> Retriever:
        """The retriever stage alone, which needs no language model."""
        return open_retriever(self._settings, self.index(), reranker=self._reranker)

    def reranker(self) -> Reranker | None:
        """The cross-encoder that the settings name. Its weights load at the first call."""
        self.require_open()
        return self._reranker

    def refresh(self, role: Role) -> None:
        """Use the version that serves for `role` now from the next question on.

        The base stays in memory. A chain that another thread still uses keeps the adapters it was made with.
        """
        with self._lock:
            self.require_open()
            self._chain = None
            if role is Role.EMBEDDER:
                self._index = None
            else:
                self._adapters_changed = self._given_engine is None

    def release_models(self) -> None:
        """Release models and store for work that needs the memory. The next question opens them again."""
        with self._lock:
            self.require_open()
            self._index = self._base = self._chain = None
            self.release_store()

    def release_store(self) -> None:
        """Let other processes use the index until the next operation here."""
        store = self._store
        if store is not None:
            store.release()

    def close(self) -> None:
        """Close what is open. A second call does nothing."""
        with self._lock:
            self._closed = True
            self._store = self._index = self._base = self._chain = None
            self._closers.close()
