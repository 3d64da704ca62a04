"""A whole service without a model: scripted engine, hashing embedder, real stores and files. Starts in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings, load_settings
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import Embedder, HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.project import Project
from lorag.services.api.app import create_app
from lorag.services.api.keys import KeyRing
from lorag.services.api.residents import Residents
from lorag.services.api.runtime import Encoder, Runtime
from lorag.services.api.state import Limits, ServiceState

Load = Callable[[str, Version], None]


def make_project(folder: Path) -> Path:
    """A project with two documents of its own, not yet ingested."""
    (folder / "docs").mkdir(parents=True)
    (folder / "docs/keys.md").write_text("# Keys\n\nThe porter keeps the key in room 4.\n")
    (folder / "docs/ferry.md").write_text("# Ferry\n\nThe ferry leaves from the north quay at 07:40.\n")
    settings = "documents: docs\nchunking: {max_chars: 100, min_chars: 0}\njudge: {answerability: false, support: false}\n"
    (folder / "lorag.yaml").write_text(settings)
    return folder


def open_small(settings: Settings, *, embedder: Embedder | None = None, load: Load = lambda name, version: None) -> Runtime:
    """A runtime on the project's real store. `load` stands in for proving an adapter and putting it on the base."""
    store, encoder = EdgeStore(settings.store.path), embedder or HashingEmbedder(64)
    chunking = Chunking(settings.chunking.max_chars, settings.chunking.min_chars)

    def open_encoder(version: Version | None) -> Encoder:
        return Encoder("", encoder, Index(store, encoder, name=settings.store.collection, chunking=chunking))

    runtime = Runtime(
        settings,
        ScriptedEngine(lambda request: "The porter keeps the key. [1]"),
        residents=Residents(load, lambda name: None),
        open_encoder=open_encoder,
        close=store.close,
    )
    runtime.refresh()
    return runtime


def make_app(project: Path, *, limits: Limits | None = None, **options: Any) -> FastAPI:
    """The application of `project`, with the keys that it has; `options` as for `open_small`."""
    return make_state_app(project, KeyRing.load(project), limits or Limits(), **options)[0]


def make_state_app(project: Path, keys: KeyRing | None, limits: Limits, **options: Any) -> tuple[FastAPI, ServiceState]:
    """An application and its state."""
    settings = load_settings(project)
    state = ServiceState(Project(project, settings), keys, limits)
    return create_app(state, open_runtime=lambda: open_small(settings, **options)), state


@contextmanager
def serving(project: Path, **options: Any) -> Iterator[TestClient]:
    """Within: a client of the started, ready service."""
    with TestClient(make_app(project, **options), raise_server_exceptions=False) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200)
        yield client


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.01)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def upload(client: TestClient, key: str, files: dict[str, str | bytes], *, wait: bool = True) -> dict[str, Any]:
    """Upload files by name; the job, at its end unless `wait` is False."""
    form = [("file", (name, content)) for name, content in files.items()]
    response = client.post("/v1/documents", files=form, headers=bearer(key))
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()["job"]
    if wait:
        job = finished(client, key, job["id"])
    return job


def finished(client: TestClient, key: str, id: str) -> dict[str, Any]:
    """The job when it has ended."""
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(client.get(f"/v1/jobs/{id}", headers=bearer(key)).json())
        return found["state"] in ("done", "failed")

    wait_for(ended)
    return found


def sources(client: TestClient, key: str) -> list[str]:
    return [each["source"] for each in client.get("/v1/documents", headers=bearer(key)).json()["documents"]]


def texts_found(client: TestClient, key: str, query: str) -> set[str]:
    """The texts of what a search as wide as can be finds."""
    response = client.post("/v1/retrieve", json={"query": query, "k": 50}, headers=bearer(key))
    assert response.status_code == 200, response.text
    return {hit["text"] for hit in response.json()["hits"]}
