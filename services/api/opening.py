"""Opens the runtime of a service on an open project: its base for concurrent requests, its index with each version's encoder."""

from __future__ import annotations

import logging
from contextlib import ExitStack

from lorag.assembly import version_name
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.engine.protocol import Engine
from lorag.pipeline.errors import AdapterError
from lorag.project import Project
from lorag.services.api.metrics import Metrics
from lorag.services.api.residents import Residents
from lorag.services.api.runtime import Encoder, Runtime
from lorag.serving_lock import SERVING

log = logging.getLogger("lorag.service")


def open_runtime(project: Project, metrics: Metrics) -> Runtime:
    """The runtime of a project, with its adapters proven and in memory. Close it before the project, which owns the parts.

    Raises ConfigError, BaseError, StoreError, EngineError, AdapterError and its subclasses.
    """
    parts = project.parts

    def open_encoder(version: Version | None) -> Encoder:
        return Encoder(version_name(version) if version else "", *parts.index_for(version))

    with ExitStack() as opened:
        parts.store().hold(SERVING)  # raises before a model is loaded
        engine, residents = _open_engine(parts.base().engine, metrics, opened)
        runtime = Runtime(
            project.settings,
            engine,
            residents=residents,
            open_encoder=open_encoder,
            reranker=parts.reranker(),
            on_serve=metrics.serve,
            close=opened.pop_all().close,
        )
        opened.callback(runtime.close)
        for line in runtime.refresh():
            log.warning(line)
        opened.pop_all()
        return runtime


def _open_engine(engine: Engine, metrics: Metrics, opened: ExitStack) -> tuple[Engine, Residents]:
    """The engine for concurrent requests, and the adapters that can be loaded onto it."""
    from lorag.pipeline.adapters.proof import load_proven
    from lorag.pipeline.engine.batching import BatchingEngine
    from lorag.pipeline.engine.local import LocalEngine

    if not isinstance(engine, LocalEngine):
        return engine, Residents(_not_on_server, lambda _: None, names=engine.adapters)
    local = engine

    def load(name: str, version: Version) -> None:
        load_proven(local, name, version.folder, local.loaded.base, role=version.role)

    batching = BatchingEngine(local, on_step=metrics.stepped)
    opened.callback(batching.close)
    return batching, Residents(load, local.unload_adapter, names=local.adapters)


def _not_on_server(name: str, version: Version) -> None:
    raise AdapterError(f"{name} is not on the model server; serve it there under its role's name, then start `lorag serve` again")
