"""Opens what a project's settings describe, for the service: base, store and encoder, each once."""

from __future__ import annotations

import logging
from contextlib import ExitStack

from lorag.assembly import open_base, open_embedder, open_index, open_reranker, open_store, version_name
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import NO_ADAPTER, Settings
from lorag.pipeline.engine.protocol import Engine
from lorag.pipeline.errors import AdapterError
from lorag.services.api.metrics import Metrics
from lorag.services.api.residents import Residents
from lorag.services.api.runtime import Encoder, Runtime

log = logging.getLogger("lorag.service")


def open_runtime(settings: Settings, metrics: Metrics) -> Runtime:
    """The runtime of a project, its adapters proven and in memory. `close` it when done.

    Raises ConfigError, BaseError, StoreError, EngineError, AdapterError and its kin, with nothing left open.
    """
    opened = ExitStack()
    try:
        store = open_store(settings)
        opened.callback(store.close)

        def open_encoder(version: Version | None) -> Encoder:
            choice = settings.adapters.model_copy(update={"embedder": version.id if version else NO_ADAPTER})
            chosen = settings.model_copy(update={"adapters": choice})
            embedder = open_embedder(chosen)
            assert embedder.dimension  # loads the model now, not at the first question
            return Encoder(version_name(version) if version else "", embedder, open_index(chosen, embedder, store))

        engine, residents = _open_engine(settings, metrics, opened)
        reranker = open_reranker(settings)
        runtime = Runtime(
            settings,
            engine,
            residents=residents,
            open_encoder=open_encoder,
            reranker=reranker,
            on_serve=metrics.serve,
            close=opened.close,
        )
        for line in runtime.refresh():
            log.warning(line)
        return runtime
    except BaseException:
        opened.close()
        raise


def _open_engine(settings: Settings, metrics: Metrics, opened: ExitStack) -> tuple[Engine, Residents]:
    """The engine for many requests at once, and what puts further adapters on it."""
    from lorag.pipeline.adapters.proof import load_proven
    from lorag.pipeline.engine.batching import BatchingEngine
    from lorag.pipeline.engine.local import LocalEngine

    engine = open_base(settings).engine
    if not isinstance(engine, LocalEngine):
        if (close := getattr(engine, "close", None)) is not None:
            opened.callback(close)
        return engine, Residents(_served_elsewhere, lambda _: None, names=engine.adapters)
    local = engine

    def load(name: str, version: Version) -> None:
        load_proven(local, name, version.folder, local.loaded.base, role=version.role)

    batching = BatchingEngine(local, on_step=metrics.stepped)
    opened.callback(batching.close)
    return batching, Residents(load, local.unload_adapter, names=local.adapters)


def _served_elsewhere(name: str, version: Version) -> None:
    raise AdapterError(f"{name} is not on the model server; serve it there under its role's name, then start `lorag serve` again")
