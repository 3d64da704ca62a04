"""What holds for every route: error form, readiness, limits, log, counters, description."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lorag.opening import open_project
from lorag.pipeline.errors import (
    AdapterError,
    Cancelled,
    DeadlinePassed,
    EngineError,
    IndexMismatch,
    InputError,
    Overloaded,
    PromptTooLong,
    ShuttingDown,
    StoreError,
)
from lorag.pipeline.stages.attempts import named
from lorag.services.api.app import create_app
from lorag.services.api.errors import ApiError, api_error
from lorag.services.api.logs import JsonLines, logging_to
from lorag.services.api.state import Limits, ServiceState
from tests.services.api.live_service import ANSWER, PacedEngine, make_live_app, make_runtime, ready_project
from tests.services.api.small_service import wait_for

SECRET = "the word that no log may hold"
INNER = "what a library says at /srv/place"
QUESTION: dict[str, Any] = {"model": "lorag", "messages": [{"role": "user", "content": f"Who keeps the key? {SECRET}"}]}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ready_project(tmp_path_factory.mktemp("app") / "project")


class Breaking(PacedEngine):
    """Raises what it is told to."""

    error: Exception | None = None

    def stream(self, request: Any) -> Any:
        if self.error is not None:
            raise self.error
        return super().stream(request)


@pytest.fixture(scope="module")
def engine() -> Breaking:
    return Breaking()


@pytest.fixture(scope="module")
def client(project: Path, engine: Breaking) -> Iterator[TestClient]:
    app, state = make_live_app(project, engine, Limits(cache=0, max_body=20_000))
    with TestClient(app, raise_server_exceptions=False) as opened:
        wait_for(lambda: state.opened is not None)
        yield opened


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the service writes to its log."""
    stream = io.StringIO()
    with logging_to(stream):
        yield stream


def error_of(response: Any) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert len(body["error"]["message"].splitlines()) == 1
    found: dict[str, Any] = body["error"]
    return found


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "said"),
    [
        ("GET", "/nothing", {}, 404, "nothing at this path"),
        ("GET", "/v1/../etc/passwd", {}, 404, "nothing at this path"),
        ("PUT", "/v1/models", {}, 405, "does not take that method"),
        ("GET", "/v1/chat/completions", {}, 405, "does not take that method"),
        ("POST", "/v1/retrieve", {"content": b"{", "headers": JSON}, 400, "not valid JSON"),
        ("POST", "/v1/retrieve", {"content": b"\xff\xfe", "headers": JSON}, 400, ""),
        ("POST", "/v1/retrieve", {"content": b"[" * 15_000, "headers": JSON}, 400, ""),
        ("POST", "/v1/retrieve", {"content": b'{"query": "a"}'}, 400, "Content-Type: application/json"),
        ("POST", "/v1/retrieve", {"content": b"3", "headers": JSON}, 400, "JSON object"),
        ("POST", "/v1/retrieve", {"content": b"", "headers": JSON}, 400, "JSON object"),
        ("POST", "/v1/retrieve", {"content": b'{"query": "\\ud800"}', "headers": JSON}, 400, "query: "),
        ("POST", "/v1/retrieve", {"content": b'{"query": "a\\u0000"}', "headers": JSON}, 400, "U+0000"),
        ("POST", "/v1/retrieve", {"content": b'{"query": "a", "k": NaN}', "headers": JSON}, 400, "k: "),
        ("POST", "/v1/retrieve", {"content": b'{"query": "a", "k": 1' + b"0" * 5000 + b"}", "headers": JSON}, 400, ""),
        ("POST", "/v1/retrieve", {"json": {"query": "a", "k": 0}}, 400, "k: "),
        ("POST", "/v1/retrieve", {"json": {"query": "a", "k": -1}}, 400, "k: "),
        ("POST", "/v1/retrieve", {"json": {"query": "a", "k": True}}, 400, "k: "),
        ("POST", "/v1/retrieve", {"json": {"query": "a", "k": "4"}}, 400, "k: "),
        ("POST", "/v1/retrieve", {"json": {"query": "a", "tenant": "other"}}, 400, "tenant: "),
        ("POST", "/v1/retrieve", {"json": {"query": ["a"]}}, 400, "query: "),
        ("POST", "/v1/retrieve", {"json": {"query": "a" * 21_000}}, 413, "20000 bytes"),
        ("POST", "/v1/retrieve", {"content": (b"x" * 1000 for _ in range(30)), "headers": JSON}, 413, "20000 bytes"),
    ],
)
def test_errors_have_one_form(
    client: TestClient, method: str, path: str, options: dict[str, Any], status: int, said: str
) -> None:
    response = client.request(method, path, **options)
    assert response.status_code == status
    assert said in error_of(response)["message"]
    assert response.headers["x-request-id"].startswith("req-")
    assert status != 405 or response.headers["allow"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InputError("the question is empty; type one"), 400, None),
        (PromptTooLong("prompt of 9000 tokens"), 400, "context_length_exceeded"),
        (IndexMismatch("x"), 409, "index_mismatch"),
        (AdapterError("in /srv/secret/place"), 409, "adapter_refused"),
        (Overloaded("x"), 429, "queue_full"),
        (EngineError("x at /srv/secret/place"), 500, "failed"),
        (RuntimeError("CUDA at /srv/secret/place"), 500, "bug"),
        (StoreError("x at /srv/secret/place"), 503, "index_unavailable"),
        (ShuttingDown("x"), 503, "stopping"),
        (DeadlinePassed("x"), 504, "timeout"),
        (Cancelled("x"), 499, "cancelled"),
        (MemoryError(), 503, "out_of_memory"),
        (ApiError(418, "no", code="own"), 418, "own"),
    ],
)
def test_each_kind_of_error_has_its_status(error: Exception, status: int, code: str | None) -> None:
    found = api_error(error)
    assert (found.status, found.code) == (status, code)
    assert "/srv" not in found.message
    if isinstance(error, InputError | PromptTooLong):
        assert found.message == str(error)
        assert api_error(named(error, "synthesize", None, SECRET)).message == str(error)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("error", [RuntimeError(INNER), EngineError(INNER), KeyError(INNER)])
def test_a_failure_tells_neither_client_nor_log_what_was_asked(
    client: TestClient, engine: Breaking, log: io.StringIO, error: Exception, streamed: bool
) -> None:
    engine.error = error
    try:
        response = client.post("/v1/chat/completions", json={**QUESTION, "stream": streamed})
    finally:
        engine.error = None
    assert "Traceback" not in response.text + log.getvalue()
    assert INNER not in response.text
    assert SECRET not in log.getvalue()
    if streamed:
        last = json.loads(response.text.strip().splitlines()[-1].removeprefix("data: "))
        assert last["error"]["type"] == "server_error"
    else:
        assert response.status_code == 500
        assert error_of(response)["type"] == "server_error"
    if not isinstance(error, EngineError):  # LoRAG's own words are written for the log, a library's are not
        assert INNER not in log.getvalue()
    assert any(json.loads(line)["level"] == "error" for line in log.getvalue().splitlines())


def test_a_line_of_the_log_says_who_and_how_long_but_not_what(client: TestClient, log: io.StringIO) -> None:
    response = client.post(f"/v1/chat/completions?key={SECRET}", json=QUESTION, headers={"Authorization": f"Bearer {SECRET}"})
    assert response.status_code == 200
    (line,) = log.getvalue().splitlines()
    told = json.loads(line)
    assert SECRET not in line
    assert (told["route"], told["method"], told["status"], told["caller"]) == ("/v1/chat/completions", "POST", 200, "local")
    assert told["id"] == response.headers["x-request-id"]
    assert told["bytes"] == len(response.content)


def test_a_traceback_needs_to_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        raise ValueError("x")
    except ValueError as error:
        record = logging.LogRecord(
            "uvicorn.error", logging.ERROR, "f", 1, "Exception", None, (ValueError, error, error.__traceback__)
        )
    assert json.loads(JsonLines().format(record))["error"] == "ValueError"
    assert "Traceback" not in JsonLines().format(record)
    monkeypatch.setenv("LORAG_DEBUG", "1")
    assert "Traceback" in json.loads(JsonLines().format(record))["traceback"]


def test_metrics_count_what_happened(tmp_path: Path) -> None:
    project = ready_project(tmp_path / "p")
    app, state = make_live_app(project, PacedEngine(), Limits())
    with TestClient(app) as client:
        wait_for(lambda: state.opened is not None)
        for _ in range(2):
            assert client.post("/v1/chat/completions", json=QUESTION).json()["choices"][0]["message"]["content"] == ANSWER
        client.get("/nothing")
        client.post("/v1/retrieve", json={"query": "key"})
        page = client.get("/metrics").text
    for line in (
        'lorag_requests_total{method="POST",route="/v1/chat/completions",status="200"} 2.0',
        'lorag_requests_total{method="GET",route="other",status="404"} 1.0',
        'lorag_answers_total{outcome="ok"} 2.0',
        'lorag_stage_seconds_count{stage="synthesize"} 2.0',
        'lorag_stage_seconds_count{stage="retrieve"} 3.0',
        'lorag_cache_requests_total{result="hit"} 3.0',
        'lorag_tokens_total{kind="completion"} 6.0',
        'lorag_adapter_in_use{role="judge",version="base"} 1.0',
        'lorag_queue_length{lane="model"} 0.0',
        'lorag_queue_length{lane="encoder"} 0.0',
        'lorag_running{lane="model"} 0.0',
        'lorag_running{lane="encoder"} 0.0',
    ):
        assert line in page.splitlines()


@pytest.mark.parametrize(("reply", "by"), [("The passages do not say.", "synthesizer"), (ANSWER, None)])
def test_refusals_are_counted_by_who_refused(tmp_path: Path, reply: str, by: str | None) -> None:
    project = ready_project(tmp_path / "p")
    app, state = make_live_app(project, PacedEngine(lambda request: reply), Limits())
    with TestClient(app) as client:
        wait_for(lambda: state.opened is not None)
        said = client.post("/v1/chat/completions", json=QUESTION).json()["lorag"]
        page = client.get("/metrics").text
    assert said["refused"] is (by is not None)
    assert (f'lorag_refusals_total{{by="{by}"}} 1.0' in page) is (by is not None)


def test_until_the_base_is_there_the_service_says_when_to_come_back(tmp_path: Path) -> None:
    project = ready_project(tmp_path / "p")
    loaded = threading.Event()
    engine = PacedEngine()
    _, state = make_live_app(project, engine, Limits())

    def open_slowly() -> Any:
        assert loaded.wait(20)
        return make_runtime(state, engine)

    with TestClient(create_app(state, open_runtime=open_slowly)) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        for response in (client.get("/readyz"), client.post("/v1/chat/completions", json=QUESTION)):
            assert response.status_code == 503
            assert error_of(response)["code"] == "starting"
            assert int(response.headers["retry-after"]) > 0
        loaded.set()
        wait_for(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/v1/chat/completions", json=QUESTION).status_code == 200


def test_a_base_that_does_not_load_is_told_to_whoever_started_the_service(project: Path) -> None:
    failures: list[BaseException] = []
    _, state = make_live_app(project, PacedEngine(), Limits())

    def refuse() -> Any:
        raise AdapterError("it changes nothing")

    with TestClient(create_app(state, open_runtime=refuse, failed=failures.append)) as client:
        wait_for(lambda: len(failures) == 1)
        assert client.get("/readyz").status_code == 503
    assert str(failures[0]) == "it changes nothing"


def test_the_description_has_examples_and_a_page(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    chat = document["paths"]["/v1/chat/completions"]["post"]
    examples = chat["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        assert client.post("/v1/chat/completions", json=example["value"]).status_code == 200
    assert "422" not in chat["responses"]
    assert chat["security"]
    page = client.get("/docs").text
    assert "POST /v1/chat/completions" in page
    assert "http://" not in page.replace("http://HOST:PORT/v1", "").replace("http://localhost", "")


def test_an_unready_question_of_an_empty_project_is_a_refusal(tmp_path: Path) -> None:
    from tests.services.api.small_service import make_project

    project = make_project(tmp_path / "empty")
    state = ServiceState(open_project(project), limits=Limits())
    with TestClient(create_app(state, open_runtime=lambda: make_runtime(state, PacedEngine()))) as client:
        wait_for(lambda: state.opened is not None)
        response = client.post("/v1/chat/completions", json=QUESTION)
        assert response.status_code == 409
        assert "upload documents" in error_of(response)["message"]
