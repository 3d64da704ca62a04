"""The models and the index that all requests share, and the adapter versions that they use.

A request takes a `Snapshot`: the adapters, the encoder and the collection at its start. `refresh` loads and proves the versions
that a promotion or a rollback has named. Later requests use them, and running requests finish with their snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from lorag.assembly import GENERATION_ROLES, chosen_version, open_registry, retriever_of, serving_options, version_name
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.chain import Chain, build_chain
from lorag.pipeline.config import Settings
from lorag.pipeline.engine.protocol import Engine
from lorag.pipeline.errors import AdapterError, IndexMismatch, LoragError, NothingIngested
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.embedder import Embedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.rerank import Reranker
from lorag.pipeline.stages import Retriever
from lorag.pipeline.stages.attempts import BASE
from lorag.promotion import switch_index
from lorag.services.api.errors import ApiError
from lorag.services.api.residents import Residents

ENCODERS = 3
"""Encoders kept in memory: the one in use and those last compared with it."""

Aliases = Mapping[Role, str]
"""Role → `production`, `candidate`, `previous` or `none`."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A text encoder, by the name of its adapter's version (empty: none), and the index that it searches."""

    name: str
    embedder: Embedder
    index: Index


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The versions that one request uses. `adapters` are resident names by generation role; a role without one uses the base."""

    adapters: Mapping[Role, str]
    encoder: Encoder
    judge: Version | None = None

    def named(self) -> dict[str, str]:
        """Each role with its version, or `base`."""
        names = {role.value: self.adapters.get(role, BASE) for role in GENERATION_ROLES}
        return {**names, Role.EMBEDDER.value: self.encoder.name or BASE}


@dataclass(slots=True)
class _Encoders:
    """The most recently used encoders, by name."""

    open: Callable[[Version | None], Encoder]
    known: dict[str, Encoder] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, version: Version | None) -> Encoder:
        name = version_name(version) if version else ""
        with self.lock:
            encoder = self.known.pop(name, None) or self.open(version)
            self.known[name] = encoder
            while len(self.known) > ENCODERS:
                del self.known[next(iter(self.known))]
            return encoder


class Runtime:
    """`engine` serves every tenant and adapter, `residents` loads adapters onto it, `open_encoder` opens a version's encoder.

    `refresh` must be called once before the first request. It calls `on_serve` with the versions that serve. Safe for several
    threads.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        residents: Residents,
        open_encoder: Callable[[Version | None], Encoder],
        reranker: Reranker | None = None,
        on_serve: Callable[[Mapping[str, str]], None] = lambda _: None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings, self.engine = settings, engine
        self._residents, self._encoders = residents, _Encoders(open_encoder)
        self._reranker, self._on_serve, self._close = reranker, on_serve, close
        self._refreshing, self._swap = threading.Lock(), threading.Lock()
        self._serving: Mapping[Role, Version] = MappingProxyType({})
        self._encoder: Encoder | None = None

    @property
    def encoder(self) -> Encoder:
        """The encoder in production, and the index that it searches."""
        assert self._encoder is not None, "refresh() comes first"
        return self._encoder

    @property
    def index(self) -> Index:
        """The project's index, through which documents are added and removed. `for_tenant` selects a tenant's part."""
        return self.encoder.index

    def refresh(self) -> tuple[str, ...]:
        """Serve the versions that the settings name now, and return a line for each that cannot serve yet.

        Raises AdapterError, IdentityMismatch, NoEffect if a version is not proven, and StoreError; then the versions before serve
        on. The first call raises IndexMismatch if no known encoder can search the index.
        """
        with self._refreshing, ExitStack() as undo:
            wanted = {role: version for role in GENERATION_ROLES if (version := chosen_version(self.settings, role))}
            for version in wanted.values():
                self._hold(version, undo)
            encoder = self._encoders.get(chosen_version(self.settings, Role.EMBEDDER))
            with self._swap:
                notes = self._switch_encoder(encoder)
                before, self._serving = self._serving, MappingProxyType(wanted)
            undo.pop_all()
            for version in before.values():
                self._residents.release(version_name(version))
            self._on_serve(self.serving())
            return notes

    @contextmanager
    def proven(self, version: Version) -> Iterator[None]:
        """Within: `version` is proven and in memory, so that `refresh` can serve it. The versions that serve do not change.

        Raises AdapterError, IdentityMismatch, NoEffect, and ApiError 409 for an embedder without a filled collection.
        """
        with ExitStack() as held:
            if version.role is not Role.EMBEDDER:
                self._hold(version, held)
            elif not self._encoders.get(version).index.is_searchable():
                message = (
                    f"the index was filled by another encoder than embedder {version.id}; run `lorag adapters promote embedder "
                    f"{version.id}` in the project's folder, which fills one for it while this one serves"
                )
                raise ApiError(409, message, code="index_mismatch")
            yield

    def index_of(self, version: Version) -> Index:
        """The index with the encoder of this embedder version, proven. Raises AdapterError, IdentityMismatch, NoEffect."""
        return self._encoders.get(version).index

    def serving(self) -> dict[str, str]:
        """Each role with the version that new requests use, or `base`."""
        adapters = {role: version_name(version) for role, version in self._serving.items()}
        return Snapshot(adapters, self.encoder).named()

    @contextmanager
    def snapshot(self, aliases: Aliases = MappingProxyType({}), tenant: str = "", *, search: bool = False) -> Iterator[Snapshot]:
        """Within: the versions of the snapshot stay in memory. `aliases` replace `production` for their roles.

        With `search` the index is pinned to its current collection, which takes a call to the store. Raises ApiError if an alias
        names no version, AdapterError and its subclasses if a version is not proven.
        """
        with ExitStack() as held:
            with self._swap:
                serving, encoder = dict(self._serving), self.encoder
            for role, alias in aliases.items():
                self._override(serving, role, alias)
            for version in serving.values():
                self._hold(version, held)
            if Role.EMBEDDER in aliases:
                encoder = self._encoders.get(self._alias(Role.EMBEDDER, aliases[Role.EMBEDDER]))
                encoder = _pinned(encoder, tenant) if search else encoder
            elif search:
                encoder = self._pinned_production(tenant)
            yield Snapshot({role: version_name(version) for role, version in serving.items()}, encoder, serving.get(Role.JUDGE))

    @contextmanager
    def chain(
        self,
        tenant: str = "",
        adapters: Aliases = MappingProxyType({}),
        *,
        engine: Engine | None = None,
        writer: Engine | None = None,
    ) -> Iterator[tuple[Chain, Snapshot]]:
        """Within: the chain on the tenant's documents, and its snapshot.

        `engine` replaces the shared one, and `writer` that of the synthesizer alone. Raises as `snapshot`.
        """
        engine = engine or self.engine
        with self.snapshot(adapters, tenant, search=True) as snapshot:
            options = serving_options(self.settings, snapshot.judge)
            chain = build_chain(engine, snapshot.adapters, self.retriever(snapshot), options, writer=writer)
            yield chain, snapshot

    def retriever(self, snapshot: Snapshot, *, k: int | None = None, hybrid: bool | None = None) -> Retriever:
        """The retriever stage on the index of `snapshot`. The settings give the defaults."""
        encoder = snapshot.encoder
        return retriever_of(self.settings, encoder.index, encoder.name, self._reranker, k=k, hybrid=hybrid)

    def close(self) -> None:
        """Finish the running work and close model and index."""
        self._close()

    def _hold(self, version: Version, stack: ExitStack) -> None:
        name = version_name(version)
        self._residents.hold(name, version)
        stack.callback(self._residents.release, name)

    def _override(self, serving: dict[Role, Version], role: Role, alias: str) -> None:
        if role is Role.EMBEDDER:
            return
        version = self._alias(role, alias)
        if version is None:
            serving.pop(role, None)
        else:
            serving[role] = version

    def _alias(self, role: Role, alias: str) -> Version | None:
        chosen = self.settings.adapters.model_copy(update={role.value: alias})
        try:
            return chosen_version(self.settings.model_copy(update={"adapters": chosen}), role)
        except AdapterError:
            message = f"no {role.value} adapter is `{alias}` here; see GET /v1/adapters for what there is"
            raise ApiError(400, message, param=f"lorag.adapters.{role.value}", code="no_such_adapter") from None

    def _switch_encoder(self, encoder: Encoder) -> tuple[str, ...]:
        """Serve `encoder` with the collection that it can search. If there is none, the old encoder and collection serve on."""
        if self._encoder is not None and self._encoder.name == encoder.name:
            return ()
        try:
            switch = switch_index(encoder.index)
        except NothingIngested:
            self._encoder = encoder
            return ()
        if switch.searchable:
            self._encoder = encoder
            return ()
        if self._encoder is None:
            self._encoder = self._fitting_encoder(encoder)
        name = self._encoder.name or BASE
        return (f"embedder {encoder.name or BASE} does not serve yet, {name} serves: {switch.message}",)

    def _fitting_encoder(self, unfit: Encoder) -> Encoder:
        """The bare encoder, or that of a version with an alias, that can search the index, which `unfit` cannot.

        Raises IndexMismatch if there is none.
        """
        filled = unfit.index.info().encoder
        registry = open_registry(self.settings)
        for name in ("", *registry.aliases(Role.EMBEDDER)):
            with suppress(LoragError):  # a version that is missing or not proven; try the next
                encoder = self._encoders.get(registry.resolve(Role.EMBEDDER, name) if name else None)
                if encoder.embedder.identity.can_search(filled):
                    return encoder
        asked = unfit.embedder.identity.describe()
        raise IndexMismatch(
            f"the index was filled by {filled.describe()} and cannot be searched by {asked}; run `lorag ingest --rebuild`, then "
            "`lorag serve`"
        )

    def _pinned_production(self, tenant: str) -> Encoder:
        """The encoder in production with its index pinned. It calls the store outside the lock, and again after a promotion."""
        while True:
            encoder = self.encoder
            pinned = _pinned(encoder, tenant)
            with self._swap:
                if self._encoder is encoder:
                    return pinned


def _pinned(encoder: Encoder, tenant: str) -> Encoder:
    """`encoder` with the tenant's part of the index, pinned to its current collection. Not pinned if there is none yet."""
    index = encoder.index.for_tenant(tenant)
    with suppress(NothingIngested):
        index = index.pinned()
    return Encoder(encoder.name, encoder.embedder, index)
