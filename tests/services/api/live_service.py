"""The service under a real uvicorn on a loopback port, with an engine that tests script: it can wait, and it remembers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from lorag.opening import open_project
from lorag.pipeline.config import load_settings
from lorag.pipeline.engine.limits import current_limits
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import Embedder, HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.services.api.app import create_app
from lorag.services.api.guard import Guarded
from lorag.services.api.keys import KeyRing
from lorag.services.api.residents import Residents
from lorag.services.api.runtime import Encoder, Runtime
from lorag.services.api.server import Server, listening, server_config
from lorag.services.api.state import Lane, Limits, ServiceState
from tests.services.api.small_service import make_project, wait_for

ANSWER = "The porter keeps the key. [1]"


@dataclass
class PacedEngine:
    """Says `reply(request)` word by word. With `gate` closed it waits before each word, until somebody opens it or gives up; it
    closes it itself before word `hold_at`."""

    reply: Callable[[Generation], str] = lambda request: ANSWER
    gate: threading.Event = field(default_factory=threading.Event)
    adapters: tuple[str, ...] = ()
    requests: list[Generation | ChoiceRequest] = field(default_factory=list)
    abandoned: list[Generation] = field(default_factory=list)
    hold_at: int | None = None
    started: int = 0
    finished: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        raise AssertionError("the service streams, so that it can stop")

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        self.requests.append(request)
        self.started += 1
        text, told = self.reply(request), ""
        words = text.split(" ")
        limits = current_limits()
        try:
            for number, word in enumerate(words[: request.max_tokens]):
                if number == self.hold_at:
                    self.gate.clear()
                while not self.gate.wait(0.01):
                    if (error := limits.over()) is not None:
                        raise error
                piece = word if number == 0 else f" {word}"
                told += piece
                yield piece
        except BaseException:
            self.abandoned.append(request)
            raise
        self.finished += 1
        read = sum(len(message.content.split()) for message in request.messages)
        finish = Finish.LENGTH if len(words) > request.max_tokens else Finish.STOP
        return Completion(told, read, min(len(words), request.max_tokens), finish)

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        self.requests.extend(requests)
        return [(0.75, *([0.25 / (len(r.choices) - 1)] * (len(r.choices) - 1))) for r in requests]


@dataclass(frozen=True)
class Live:
    """A running service: `url` ends in /v1."""

    url: str
    engine: PacedEngine
    state: ServiceState
    port: int

    def until(self, condition: Callable[[], bool]) -> None:
        wait_for(condition)

    @property
    def idle(self) -> bool:
        return not any(self.running(lane) for lane in Lane)

    def running(self, lane: Lane) -> float | None:
        return self.state.metrics.registry.get_sample_value("lorag_running", {"lane": lane})

    def waiting(self, lane: Lane) -> float | None:
        return self.state.metrics.registry.get_sample_value("lorag_queue_length", {"lane": lane})


def ready_project(folder: Path, settings: str = "") -> Path:
    """A project whose two documents are in the index. `settings` are further lines of its file."""
    project = make_project(folder)
    (project / "lorag.yaml").write_text("documents: docs\nchunking: {max_chars: 100, min_chars: 0}\n" + settings)
    with closing_index(project) as index:
        index.ingest(project / "docs")
    return project


@contextmanager
def closing_index(project: Path) -> Iterator[Index]:
    settings = load_settings(project)
    store = EdgeStore(settings.store.path)
    try:
        yield Index(store, HashingEmbedder(64), name=settings.store.collection)
    finally:
        store.close()


def make_runtime(
    state: ServiceState, engine: Any, residents: Residents | None = None, embedder: Embedder | None = None
) -> Runtime:
    store, embedder = EdgeStore(state.settings.store.path), embedder or HashingEmbedder(64)
    index = Index(store, embedder, name=state.settings.store.collection)
    runtime = Runtime(
        state.settings,
        engine,
        residents=residents or Residents(lambda name, version: None, lambda name: None),
        open_encoder=lambda version: Encoder("", embedder, index),
        on_serve=state.metrics.serve,
        close=store.close,
    )
    runtime.refresh()
    return runtime


def make_live_app(project: Path, engine: Any, limits: Limits, **options: Any) -> tuple[FastAPI, ServiceState]:
    state = ServiceState(open_project(project), KeyRing.load(project), limits)
    return create_app(state, open_runtime=lambda: make_runtime(state, engine, **options)), state


@contextmanager
def live(project: Path, engine: PacedEngine | None = None, limits: Limits | None = None, **options: Any) -> Iterator[Live]:
    """Within: the service runs on a port of its own; it is ready."""
    engine = engine or PacedEngine()
    app, state = make_live_app(project, engine, limits or Limits(cache=0), **options)
    with running(app, state) as port:
        try:
            wait_for(lambda: state.opened is not None)
            yield Live(f"http://127.0.0.1:{port}/v1", engine, state, port)
        finally:
            engine.gate.set()


@contextmanager
def running(app: FastAPI, state: Guarded) -> Iterator[int]:
    """Within: `app` runs on this port of the loopback address."""
    with listening("127.0.0.1", 0) as listener:
        server = _ThreadServer(server_config(app, state))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the service did not end"


class _ThreadServer(Server):
    """Signals belong to the main thread."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
