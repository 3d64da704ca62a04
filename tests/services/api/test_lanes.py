"""What needs no answer from the model does not wait for what does, and has bounds of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from lorag.pipeline.retrieval.embedder import HashingEmbedder, Vectors
from lorag.pipeline.retrieval.token_vectors import TokenVectors
from lorag.services.api.state import Lane, Limits
from tests.services.api.live_service import ANSWER, Live, PacedEngine, live, ready_project

CHAIN: dict[str, Any] = {"model": "lorag", "messages": [{"role": "user", "content": "Who keeps the key?"}]}
BARE = {**CHAIN, "model": "lorag/base"}
SEARCH = {"query": "Who keeps the key?"}
EMBEDDING = {"model": "lorag/embedder", "input": "a key"}

PROMPT = 10.0
"""Seconds. What waits for a closed gate never comes, so this bounds the failing test and not the machine's speed."""


@dataclass
class PacedEmbedder:
    """A hashing embedder that embeds no question until `gate` is open."""

    inner: HashingEmbedder = field(default_factory=lambda: HashingEmbedder(64))
    gate: threading.Event = field(default_factory=threading.Event)
    started: int = 0

    def __post_init__(self) -> None:
        self.identity, self.dimension = self.inner.identity, self.inner.dimension

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        self.started += 1
        assert self.gate.wait(60)
        return self.inner.embed_queries(texts)

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return self.inner.embed_passages(texts)

    def query_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return self.inner.query_tokens(texts)

    def passage_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return self.inner.passage_tokens(texts)

    def count_tokens(self, texts: Sequence[str]) -> int:
        return self.inner.count_tokens(texts)


def post(service: Live, path: str, body: dict[str, Any], timeout: float = PROMPT) -> httpx.Response:
    return httpx.post(f"{service.url}/{path}", json=body, timeout=timeout)


@contextmanager
def in_background(gate: threading.Event) -> Iterator[ThreadPoolExecutor]:
    """Within: threads for requests that hang on `gate`; it is open after, so they end."""
    with ThreadPoolExecutor(8) as pool:
        try:
            yield pool
        finally:
            gate.set()


@contextmanager
def chains_fill_their_lane(project: Path) -> Iterator[tuple[Live, list[Future[httpx.Response]]]]:
    """Within: two chains run and do not end, and one waits, which is all that may."""
    engine = PacedEngine()
    engine.gate.clear()
    limits = Limits(concurrency=2, max_queue=1, cache=0)
    with live(project, engine, limits) as service, in_background(engine.gate) as pool:
        asked = [pool.submit(post, service, "chat/completions", CHAIN, 60) for _ in range(3)]
        service.until(lambda: (service.running(Lane.MODEL), service.waiting(Lane.MODEL), engine.started) == (2, 1, 2))
        yield service, asked


def test_searches_and_embeddings_do_not_wait_for_chains(tmp_path: Path) -> None:
    with chains_fill_their_lane(ready_project(tmp_path / "p")) as (service, asked):
        assert post(service, "chat/completions", CHAIN).status_code == 429
        for _ in range(3):
            assert len(post(service, "retrieve", SEARCH).json()["hits"]) == 2
            assert len(post(service, "embeddings", EMBEDDING).json()["data"]) == 1
        assert (service.running(Lane.MODEL), service.waiting(Lane.MODEL)) == (2, 1)
        service.until(lambda: service.running(Lane.ENCODER) == 0)
        service.engine.gate.set()
        contents = [each.result().json()["choices"][0]["message"]["content"] for each in asked]
        assert contents == [ANSWER] * 3
        service.until(lambda: service.idle)


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/jobs", "/v1/adapters", "/v1/models", "/healthz", "/readyz", "/metrics"])
def test_what_only_lists_does_not_wait_for_chains(full: Live, path: str) -> None:
    reply = httpx.get(full.url.removesuffix("/v1") + path, timeout=PROMPT)
    assert reply.status_code == 200
    if path == "/metrics":
        assert {'lorag_running{lane="model"} 2.0', 'lorag_queue_length{lane="model"} 1.0'} <= set(reply.text.splitlines())


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with chains_fill_their_lane(ready_project(tmp_path_factory.mktemp("lanes") / "p")) as (service, _):
        yield service


def test_searches_have_bounds_of_their_own(tmp_path: Path) -> None:
    embedder, limits = PacedEmbedder(), Limits(cache=0, encoder_concurrency=1, encoder_queue=1)
    with (
        live(ready_project(tmp_path / "p"), limits=limits, embedder=embedder) as service,
        in_background(embedder.gate) as pool,
    ):
        searches = [pool.submit(post, service, "retrieve", SEARCH, 60) for _ in range(2)]
        service.until(lambda: (service.running(Lane.ENCODER), service.waiting(Lane.ENCODER)) == (1, 1))
        refused = post(service, "embeddings", EMBEDDING)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert post(service, "chat/completions", BARE).json()["choices"][0]["message"]["content"] == ANSWER
        embedder.gate.set()
        assert [each.result().status_code for each in searches] == [200, 200]
        service.until(lambda: service.idle)


def test_a_search_past_its_deadline_holds_its_place_until_it_has_stopped(tmp_path: Path) -> None:
    embedder, limits = PacedEmbedder(), Limits(timeout=0.3, cache=0, encoder_concurrency=1)
    with live(ready_project(tmp_path / "p"), limits=limits, embedder=embedder) as service, in_background(embedder.gate):
        for _ in range(2):
            assert post(service, "retrieve", SEARCH).status_code == 504
        assert (embedder.started, service.running(Lane.ENCODER), service.waiting(Lane.ENCODER)) == (1, 1, 0)
        embedder.gate.set()
        service.until(lambda: service.idle)
        assert post(service, "retrieve", SEARCH).status_code == 200


def test_a_search_whose_client_goes_while_it_waits_never_runs(tmp_path: Path) -> None:
    embedder, limits = PacedEmbedder(), Limits(cache=0, encoder_concurrency=1)
    with (
        live(ready_project(tmp_path / "p"), limits=limits, embedder=embedder) as service,
        in_background(embedder.gate) as pool,
    ):
        first = pool.submit(post, service, "retrieve", SEARCH, 60)
        service.until(lambda: embedder.started == 1)
        with pytest.raises(httpx.ReadTimeout):
            post(service, "retrieve", SEARCH, timeout=0.5)
        service.until(lambda: service.waiting(Lane.ENCODER) == 0)
        embedder.gate.set()
        assert first.result().status_code == 200
        service.until(lambda: service.idle)
        assert embedder.started == 1
