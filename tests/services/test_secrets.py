"""A recognisable key in every place where a key may be: it must come out nowhere, in no log, response, trace, report or file.

The servers behind the store and the engine answer with the headers that they got, as some proxies do when they refuse.
"""

from __future__ import annotations

import io
import json
import logging
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from lorag.assembly import open_base, open_store
from lorag.pipeline.config import load_settings, parse_settings
from lorag.pipeline.errors import ConfigError, EngineError, LoragError, StoreError
from lorag.services.api.errors import log_error
from lorag.services.api.keys import FILE, KeyRing, Scope
from lorag.services.api.logs import LEVELS, logging_to
from lorag.services.failures import report_bug
from tests.services.api.live_service import Live, live, ready_project

MARK = "LEAK7f3a9c"
"""Stands in every secret here, so that one search finds any of them, or a part of one."""


def secret(place: str) -> str:
    return f"sk-{place}-{MARK}-{'0123456789abcdef' * 2}"


ENVIRONMENT = (
    "QDRANT_KEY",
    "GENERATION_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "OPENAI_API_KEY",
    "LANGSMITH_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "LORAG_API_KEY",
    "HTTPS_PROXY_PASSWORD",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, secret(name))


class _Echo(BaseHTTPRequestHandler):
    """Refuses everything, and tells what was sent: in the body, in a header and in the reason."""

    statuses = (401, 403, 404, 422, 500)

    def _answer(self) -> None:
        sent = {name: value for name, value in self.headers.items()}
        told = {"error": {"message": f"refused: {sent}"}, "status": {"error": str(sent)}, "detail": "x" * 230 + str(sent)}
        self.send_response(self.statuses[len(self.path) % len(self.statuses)], "refused")
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Received", str(sent))
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Within: what the service logs, at the most talkative."""
    stream = io.StringIO()
    with logging_to(stream):
        for name in filter(None, LEVELS):  # not the root: the client in this process logs the addresses that it asks
            logging.getLogger(name).setLevel(logging.DEBUG)
        yield stream


def clean(*texts: str) -> None:
    for text in texts:
        assert MARK not in text, text[max(0, text.find(MARK) - 200) : text.find(MARK) + 50]


def files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes().decode("utf-8", errors="replace")


PLACES: Mapping[str, dict[str, Any]] = {
    "bearer": {"headers": {"Authorization": f"Bearer {secret('bearer')}"}},
    "bearer twice": {"headers": [("Authorization", f"Bearer {secret('a')}"), ("Authorization", f"Bearer {secret('b')}")]},
    "other scheme": {"headers": {"Authorization": f"Token {secret('token')}"}},
    "basic": {"auth": ("user", secret("basic"))},
    "bare": {"headers": {"Authorization": secret("bare")}},
    "x-api-key": {"headers": {"X-API-Key": secret("x")}},
    "api-key": {"headers": {"api-key": secret("azure")}},
    "cookie": {"headers": {"Cookie": f"session={secret('cookie')}"}},
    "proxy": {"headers": {"Proxy-Authorization": f"Basic {secret('proxy')}"}},
    "query": {"params": {"api_key": secret("query")}},
}
ROUTES = (
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/retrieve"),
    ("POST", "/v1/documents"),
    ("GET", "/v1/documents"),
    ("DELETE", "/v1/documents/none.md"),
    ("GET", "/v1/jobs"),
    ("GET", "/v1/jobs/none"),
    ("GET", "/v1/adapters"),
    ("GET", "/v1/adapters/judge/production"),
    ("POST", "/v1/adapters/judge/promote"),
    ("POST", "/v1/adapters/judge/rollback"),
    ("GET", "/v1/report"),
    ("GET", "/metrics"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/"),
    ("GET", "/nowhere"),
    ("PATCH", "/v1/models"),
)
BODIES: tuple[dict[str, Any], ...] = (
    {},
    {"json": {"api_key": secret("field")}},
    {"json": {"model": "lorag", "messages": [], "user": secret("user")}},
    {"json": {"model": secret("model"), "messages": [{"role": "user", "content": "Who keeps the key?"}]}},
    {"json": {"model": "lorag", "messages": [{"role": "user", "content": "Who keeps the key?", "key": secret("in message")}]}},
    {"json": {"model": "lorag", "lorag": {"adapters": {"judge": secret("adapter")}}, "messages": "x"}},
    {"json": {"query": 3, "k": secret("k"), "version": secret("version"), "input": [secret("input"), 3]}},
    {"content": b'{"api_key": "' + secret("broken").encode(), "headers": {"Content-Type": "application/json"}},
    {"files": {"file": ("tool.exe", secret("content").encode())}},
    {"files": {secret("form"): ("tool.md", b"x")}},
    {"content": b"x" * 2_000_000, "headers": {"X-Secret": secret("large")}},
)


def test_the_service_repeats_no_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys in every place, and a right one whose requests fail in every way; also where tracebacks are logged."""
    monkeypatch.setenv("LORAG_DEBUG", "1")
    project = ready_project(tmp_path / "project")
    right = KeyRing(project / FILE).add("tester", list(Scope))
    with logged() as log, live(project) as service:
        answers = list(_answers(service, right))
        service.until(lambda: service.idle)
        time.sleep(0.05)
    assert len(answers) > 300 and "401" in log.getvalue() and log.getvalue().count("\n") >= len(answers) - 20
    for text in (*answers, log.getvalue(), *files(project)):
        clean(text)
        assert right not in text


def _answers(service: Live, right: str) -> Iterator[str]:
    """Status, headers and body of each response."""
    root = service.url.removesuffix("/v1")
    with httpx.Client(base_url=root, timeout=60) as client:
        for method, path in ROUTES:
            for place in PLACES.values():
                yield _told(client.request(method, path, **place))
            if method == "GET":
                yield _told(client.request(method, path, headers={"Authorization": f"Bearer {right}"}))
            for body in BODIES if method != "GET" else ():
                headers = {"Authorization": f"Bearer {right}", "X-API-Key": secret("beside"), **body.get("headers", {})}
                try:
                    yield _told(client.request(method, path, **{**body, "headers": headers}))
                except httpx.TransportError:  # the service hangs up on a body that is too large, and the client may miss why
                    assert "X-Secret" in headers
        question = {"model": "lorag", "messages": [{"role": "user", "content": "Who keeps the key?"}], "lorag": {"trace": True}}
        for stream in (False, True):
            headers = {"Authorization": f"Bearer {right}", "Cookie": secret("cookie")}
            answer = client.post("/v1/chat/completions", json={**question, "stream": stream}, headers=headers)
            assert answer.status_code == 200 and "trace" in answer.text
            yield _told(answer)


def _told(response: httpx.Response) -> str:
    assert response.status_code < 500 or response.status_code == 503, response.text
    return "\n".join([str(response.status_code), *map(str, response.headers.items()), response.text])


def errors_of(store_url: str) -> Iterator[LoragError]:
    """What opening and using a store that refuses ends in."""
    settings = parse_settings(
        f"documents: docs\nstore: {{kind: qdrant, url: '{store_url}', api_key_env: QDRANT_KEY}}\n", Path("/nowhere")
    )
    store = open_store(settings)
    uses: list[Any] = [
        store.names,
        lambda: store.count("documents"),
        lambda: store.metadata("documents"),
        lambda: store.aliases(),
        lambda: list(store.scroll("documents")),
        lambda: store.drop("documents"),
    ]
    for use in uses:
        with pytest.raises(StoreError) as caught:
            use()
        yield caught.value
    store.close()


@pytest.mark.parametrize("away", [False, True])
def test_a_store_that_echoes_its_key(
    echo: str, away: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LORAG_DEBUG", "1")
    with logged() as log:
        for error in errors_of("http://127.0.0.1:9" if away else echo):
            clean(str(error), repr(error))
            log_error(error)
            report_bug(error)
    told = capsys.readouterr()
    assert "StoreError" in log.getvalue() and "Traceback" in told.err
    clean(log.getvalue(), told.out, told.err)


def test_a_server_that_echoes_its_key(
    echo: str, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LORAG_DEBUG", "1")
    settings = parse_settings(
        f"documents: docs\nbase: {{model: {tiny_base}}}\n"
        f"generation: {{engine: openai, base_url: '{echo}/v1', api_key_env: GENERATION_KEY, retries: 0}}\n",
        Path("/nowhere"),
    )
    with logged() as log, pytest.raises(EngineError) as caught:
        open_base(settings)
    with logged() as log:
        log_error(caught.value)
        report_bug(caught.value)
    told = capsys.readouterr()
    clean(str(caught.value), repr(caught.value), repr(settings), log.getvalue(), told.out, told.err)


@pytest.mark.parametrize("command", ["ask", "ingest", "doctor", "adapters list", "doctor -o json", "ask -o json", "serve"])
def test_the_command_line_tells_no_key(lorag: Any, project: Any, echo: str, command: str) -> None:
    project.set(f"store: {{kind: qdrant, url: '{echo}', api_key_env: QDRANT_KEY}}")
    words = command.split()
    extra = ["Who keeps the key?"] if words[0] == "ask" else ["--host", "0.0.0.0"] if words[0] == "serve" else []
    done = lorag(*words, "--project", project.folder, *extra)
    assert done.out or done.err
    clean(done.out, done.err, *files(project.folder))


@pytest.mark.parametrize(
    "lines",
    [
        "store: {kind: qdrant, url: 'http://h:6333', api_key_env: KEY}",
        "store: {kind: qdrant, url: 'http://user:KEY@h:6333'}",
        "store: {kind: qdrant, url: 'KEY'}",
        "store: {kind: qdrant, url: 'http://h:6333', api_key: KEY}",
        "generation: {engine: openai, base_url: 'http://h/v1', api_key_env: KEY}",
        "generation: {engine: openai, base_url: 'http://:KEY@h/v1'}",
        "generation: {engine: KEY}",
        "api_key: KEY",
        "store: KEY",
        "store: {kind: qdrant, url: [KEY]}",
        "retrieval: {k: KEY}",
        "judge: {gate: KEY}",
        "adapters: {judge: KEY}",
        "base: {device: KEY}",
        "store: 'KEY",
        "store: !KEY x",
        "store: &a KEY\nstore: b",
        "KEY",
        "- KEY",
    ],
)
def test_a_key_pasted_into_the_settings_is_not_repeated(tmp_path: Path, lines: str) -> None:
    (tmp_path / "lorag.yaml").write_text("documents: docs\n" + lines.replace("KEY", secret("pasted")) + "\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path)
    clean(str(caught.value), repr(caught.value), *traceback.format_exception(caught.value))


def test_a_key_is_kept_as_a_hash_alone(lorag: Any, project: Any) -> None:
    done = lorag("keys", "add", "phone", "--scope", "ask", "--project", project.folder)
    (key,) = [word for word in done.out.split() if word.startswith("lorag-")]
    listed = lorag("keys", "list", "--project", project.folder)
    removed = lorag("keys", "remove", "phone", "--project", project.folder)
    for text in (listed.out, listed.err, removed.out, removed.err, *files(project.folder)):
        assert key not in text and key.removeprefix("lorag-") not in text
    assert "phone" in listed.out
