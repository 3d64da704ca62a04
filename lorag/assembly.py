"""The composition root of the chain: settings → index, engine with proven adapters, chain.

The parts in `pipeline` know no settings; they get plain arguments from here. Cheap checks run before a model is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from lorag.pipeline.chain import Chain, ChainOptions, build_chain
from lorag.pipeline.config import NO_ADAPTER, Settings
from lorag.pipeline.errors import ConfigError
from lorag.pipeline.records import Role
from lorag.pipeline.stages import Retriever, Searcher

if TYPE_CHECKING:
    from lorag.pipeline.adapters.registry import Registry, Version
    from lorag.pipeline.engine.local import LocalEngine
    from lorag.pipeline.engine.protocol import Engine
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.pipeline.retrieval.index import Index
    from lorag.pipeline.retrieval.ingest import Chunking
    from lorag.pipeline.retrieval.rerank import Reranker
    from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
    from lorag.pipeline.retrieval.store import Filter, VectorStore
    from lorag.pipeline.retrieval.weights import SearchWeights
    from lorag.pipeline.stages.retriever import Searcher
    from lorag.training.passage_search import Retrieval

GENERATION_ROLES = (Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE)


@dataclass(frozen=True, slots=True)
class SharedBase:
    """The engine, and its name of the adapter of each role that has one, such as `rewriter-0003-1a2b3c4d`."""

    engine: Engine
    adapters: Mapping[Role, str]


def open_registry(settings: Settings) -> Registry:
    from lorag.pipeline.adapters.registry import Registry

    return Registry(settings.adapters.folder, settings.gate.margins)


def chosen_version(settings: Settings, role: Role) -> Version | None:
    """The adapter version that the settings name for `role`. None for `none`, and for `production` before any promotion.

    Raises AdapterError if another name resolves to no version.
    """
    registry, choice = open_registry(settings), str(getattr(settings.adapters, role.value))
    if choice == NO_ADAPTER or (choice == "production" and choice not in registry.aliases(role)):
        return None
    return registry.resolve(role, choice)


def version_name(version: Version) -> str:
    """The name of a version in traces and on the engine."""
    return f"{version.role.value}-{version.id}"


def open_store(settings: Settings) -> VectorStore:
    """The vector store, not yet opened. Raises ConfigError if the API key's environment variable is not set."""
    store = settings.store
    if store.kind == "edge":
        from lorag.pipeline.retrieval.edge_store import EdgeStore

        return EdgeStore(store.path, name=_process_name())
    from lorag.pipeline.retrieval.client_store import ClientStore

    key = _api_key(store.api_key_env, "store.api_key_env")
    return ClientStore(store.url or "", api_key=key, shards=store.shards, replicas=store.replicas)


def _process_name() -> str:
    """What this process is, for the message of another one that wants the index: `lorag ask`, or a script's name."""
    program, *words = map(os.path.basename, sys.argv or [""])
    return f"lorag {words[0]}" if program in ("lorag", "cli.py") and words and words[0].isalpha() else program or "python"


def _api_key(variable: str | None, setting: str) -> str | None:
    """The key in `variable`, without the line break that files and secrets end with. Raises ConfigError."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"{setting}: the environment variable {variable} is not set; set it to the API key")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{setting}: the environment variable {variable} holds more than printable ASCII; it is no API key")
    return key


def open_embedder(settings: Settings) -> Embedder:
    """The text encoder, with its proven adapter if the settings name one.

    Without an adapter nothing is loaded until the first text. Raises BaseError, AdapterError, IdentityMismatch, NoEffect.
    """
    version = chosen_version(settings, Role.EMBEDDER)
    embedder = _embedder(settings, version)
    if version is not None:
        from lorag.pipeline.adapters.proof import prove_embedder

        prove_embedder(embedder, version.folder)
    return embedder


def unproven_embedder(settings: Settings) -> SentenceTransformerEmbedder:
    """The embedder that the settings name, for its identity alone. Its adapter is not proven, so embed no text with it."""
    return _embedder(settings, chosen_version(settings, Role.EMBEDDER))


def _embedder(settings: Settings, version: Version | None) -> SentenceTransformerEmbedder:
    from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder

    chosen = settings.embedder
    card = open_registry(settings).show(Role.EMBEDDER, version.id) if version else None
    return SentenceTransformerEmbedder(
        chosen.model,
        adapter=version.folder if version else None,
        query_side_only=card is not None and card.identity.query_side_only,
        batch_size=chosen.batch_size,
        device=_device(chosen.device),
    )


def open_embedder_of(settings: Settings, model: str, adapter: str) -> Embedder:
    """As `open_embedder`, with another model and another version or alias of the project's adapter."""
    adapters = settings.adapters.model_copy(update={"embedder": adapter})
    chosen = settings.embedder.model_copy(update={"model": model})
    return open_embedder(settings.model_copy(update={"adapters": adapters, "embedder": chosen}))


def open_index(settings: Settings, embedder: Embedder | None = None, store: VectorStore | None = None) -> Index:
    """The project's index, with `embedder` and `store` or those that the settings name. The caller closes it."""
    from lorag.ownership import ProjectId
    from lorag.pipeline.retrieval.bm25 import Bm25Settings
    from lorag.pipeline.retrieval.index import Index

    chunking, words = open_chunking(settings), Bm25Settings(language=settings.retrieval.language)
    opened = store or open_store(settings)
    name, owner = settings.store.collection, ProjectId(settings.project)
    encoder = embedder or open_embedder(settings)
    weights = search_weights(settings, encoder)
    return Index(opened, encoder, name=name, chunking=chunking, bm25=words, owner=owner, weights=weights)


def open_chunking(settings: Settings) -> Chunking:
    """How the settings cut documents: by characters, and by the tokens that their encoder reads. Loads nothing yet."""
    from lorag.pipeline.retrieval.encoder_tokens import EncoderTokens
    from lorag.pipeline.retrieval.ingest import Chunking

    return Chunking(settings.chunking.max_chars, settings.chunking.min_chars, EncoderTokens(settings.embedder.model))


def search_weights(settings: Settings, embedder: Embedder) -> SearchWeights:
    """The weights of a hybrid search with this encoder: of lorag.yaml, else chosen by `tune_search`, else the defaults.

    A cross-encoder, if the settings name one, takes the place of late interaction. Raises ConfigError for a damaged file.
    """
    from lorag.pipeline.retrieval.weights import SearchWeights
    from lorag.search_tuning import stored_weights

    given, rerank = settings.retrieval.weights, settings.retrieval.rerank
    chosen = stored_weights(settings.project, embedder) or SearchWeights()
    return SearchWeights(
        chosen.words if given.words is None else given.words,
        chosen.vectors if given.vectors is None else given.vectors,
        0.0 if rerank else chosen.tokens if given.tokens is None else given.tokens,
        chosen.history if given.history is None else given.history,
        chosen.document if given.document is None else given.document,
    )


def open_base(settings: Settings, roles: Sequence[Role] = GENERATION_ROLES) -> SharedBase:
    """The engine, local or remote, with the adapters that the settings name for `roles`, each proven.

    Raises ConfigError, BaseError, AdapterError, IdentityMismatch, NoEffect, and EngineError if a server fails.
    """
    if settings.generation.engine == "openai":
        return _remote_base(settings, roles)
    from lorag.pipeline.engine.bases import resolve_base
    from lorag.pipeline.engine.local import open_engine
    from lorag.pipeline.engine.weights import Precision, load_weights

    versions = _chosen_versions(settings, roles)
    chosen = settings.base
    base = resolve_base(chosen.model)
    loaded = load_weights(base, precision=Precision(chosen.precision), compute=chosen.compute, device=chosen.device)
    return _with_adapters(open_engine(loaded), versions)


def update_adapters(base: SharedBase, settings: Settings) -> SharedBase:
    """The base with the adapters that the settings name now, after a promotion or a rollback.

    A local engine loads what it lacks and keeps its other adapters, which running requests may still use. A server has the
    adapters that it was started with, so they are read from it again. Raises as `open_base` does.
    """
    from lorag.pipeline.engine.local import LocalEngine

    if isinstance(base.engine, LocalEngine):
        return _with_adapters(base.engine, _chosen_versions(settings, GENERATION_ROLES))
    return open_base(settings)


def _with_adapters(engine: LocalEngine, versions: Mapping[Role, Version]) -> SharedBase:
    from lorag.pipeline.adapters.proof import load_proven

    for role, version in versions.items():
        name = version_name(version)
        if name not in engine.adapters:
            load_proven(engine, name, version.folder, engine.loaded.base, role=role)
    return SharedBase(engine, {role: version_name(version) for role, version in versions.items()})


def _chosen_versions(settings: Settings, roles: Sequence[Role]) -> dict[Role, Version]:
    return {role: version for role in roles if (version := chosen_version(settings, role)) is not None}


def _remote_base(settings: Settings, roles: Sequence[Role]) -> SharedBase:
    from lorag.pipeline.adapters.proof import prove_served
    from lorag.pipeline.engine.completions_client import CompletionsClient, Server
    from lorag.pipeline.engine.remote import RemoteEngine
    from lorag.pipeline.engine.tokens import load_tokens

    chosen = settings.generation
    key = _api_key(chosen.api_key_env, "generation.api_key_env")
    versions = _chosen_versions(settings, roles)
    client = CompletionsClient(Server(chosen.base_url or "", key, chosen.timeout, chosen.retries))
    engine = RemoteEngine(
        client,
        load_tokens(settings.base.model),
        base=chosen.models.base,
        models={version_name(version): str(getattr(chosen.models, role.value)) for role, version in versions.items()},
        concurrency=chosen.concurrency,
    )
    try:
        engine.connect()
        for role, version in versions.items():
            name = version_name(version)
            prove_served(engine, name, version.folder, role=role, where=engine.described(name))
    except BaseException:
        engine.close()
        raise
    return SharedBase(engine, {role: version_name(version) for role, version in versions.items()})


def chain_options(settings: Settings) -> ChainOptions:
    judge = settings.judge
    return ChainOptions(answerability=judge.answerability, support=judge.support, gate=judge.gate, intents=judge.intents)


def serving_options(settings: Settings, judge: Version | None) -> ChainOptions:
    """The same, with the tasks in which the card of `judge` shows it to be better than a floor; None is the bare base, which is
    shown nowhere. Raises AdapterError for a broken card."""
    from lorag.pipeline.adapters.proven_tasks import proven_tasks
    from lorag.training.dataset import judge_schemas

    options = chain_options(settings)
    if judge is None:
        return replace(options, proven=frozenset())
    card = open_registry(settings).show(Role.JUDGE, judge.id)
    return replace(options, proven=proven_tasks(card, judge_schemas(settings.judge.intents)))


def open_chain(
    settings: Settings,
    *,
    index: Index | None = None,
    base: SharedBase | None = None,
    retriever: Retriever | None = None,
    options: ChainOptions | None = None,
    filter: Filter | None = None,
) -> Chain:
    """The chain that the settings describe. Arguments replace the parts that would be opened.

    `options` replace the judge settings; `filter` narrows every search. Raises StoreError if nothing was ingested, and as
    `open_embedder` and `open_base` do.
    """
    index = index or open_index(settings)
    index.info()  # raises for an empty project before seconds are spent on loading a model
    base = base or open_base(settings)
    retriever = retriever or open_retriever(settings, index, filter)
    options = options or serving_options(settings, chosen_version(settings, Role.JUDGE))
    return build_chain(base.engine, base.adapters, retriever, options)


def open_retriever(
    settings: Settings, index: Searcher, filter: Filter | None = None, *, reranker: Reranker | None = None
) -> Retriever:
    """The retriever stage that the settings describe, over `index`; `filter` narrows every search. Loads nothing."""
    version = chosen_version(settings, Role.EMBEDDER)
    encoder = version_name(version) if version else ""
    return retriever_of(settings, index, encoder, reranker or open_reranker(settings), filter=filter)


def retriever_of(
    settings: Settings,
    index: Searcher,
    encoder: str,
    reranker: Reranker | None,
    *,
    k: int | None = None,
    hybrid: bool | None = None,
    filter: Filter | None = None,
) -> Retriever:
    """The retriever stage on `index`, with the encoder version `encoder` (empty: no adapter). None means as the settings say."""
    chosen = settings.retrieval
    return Retriever(
        index,
        k=chosen.k if k is None else k,
        hybrid=chosen.hybrid if hybrid is None else hybrid,
        filter=filter,
        reranker=reranker,
        encoder=encoder,
    )


def serving_retrieval(settings: Settings) -> Retrieval:
    """The project's retrieval for training: with the encoder, the fusion and the reranker that serve. Opens nothing yet."""
    from lorag.training.passage_search import Retrieval

    weights = partial(search_weights, settings)
    chosen = settings.retrieval
    return Retrieval(chosen.k, partial(open_embedder, settings), partial(open_retriever, settings), weights, chosen.language)


def open_reranker(settings: Settings) -> Reranker | None:
    """The cross-encoder that the settings name, not yet loaded. None if they name none."""
    if settings.retrieval.rerank is None:
        return None
    from lorag.pipeline.retrieval.rerank import CrossEncoderReranker

    return CrossEncoderReranker(settings.retrieval.rerank, device=_device(settings.embedder.device))


def _device(setting: str) -> str | None:
    """None lets sentence-transformers choose."""
    return None if setting == "auto" else setting
