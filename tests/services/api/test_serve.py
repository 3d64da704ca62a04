"""`lorag serve` on a tiny real base with a real adapter: opened, asked, promoted under load, refused in one line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

import lorag.services.cli
from lorag.opening import open_project
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from lorag.project import Project
from lorag.services.api.app import create_app
from lorag.services.api.opening import open_runtime
from lorag.services.api.state import Limits, ServiceState
from tests.claims import speak_for
from tests.services.api.small_service import wait_for

CONVERSATION: dict[str, Any] = {
    "model": "lorag",
    "messages": [
        {"role": "user", "content": "Who keeps the key?"},
        {"role": "assistant", "content": "The porter."},
        {"role": "user", "content": "And at night?"},
    ],
}


@pytest.fixture
def tuned(project: Any, lorag: Any, publish_rewriter: Any) -> tuple[Any, str]:
    """A project with an index and a rewriter in production; and its version."""
    assert lorag("ingest", "--project", project.folder).code == 0
    version = publish_rewriter()
    assert lorag("adapters", "promote", "rewriter", "--project", project.folder).code == 0
    return project, version


@pytest.fixture
def client(tuned: tuple[Any, str]) -> Iterator[TestClient]:
    with open_project(tuned[0].folder) as opened_project:
        yield from client_of(opened_project)


def client_of(project: Project) -> Iterator[TestClient]:
    state = ServiceState(project, limits=Limits(concurrency=4, cache=0))
    app = create_app(state, open_runtime=lambda: open_runtime(project, state.metrics))
    with TestClient(app) as opened:
        wait_for(lambda: state.opened is not None, 60)
        yield opened


def asked(client: TestClient, alias: str | None = None) -> tuple[str, str]:
    """Which rewriter answered, and its rewrite."""
    options = {} if alias is None else {"lorag": {"adapters": {"rewriter": alias}}}
    response = client.post("/v1/chat/completions", json={**CONVERSATION, **options})
    assert response.status_code == 200, response.text
    said = response.json()["lorag"]
    return said["adapters"]["rewriter"], said["rewrite"]


def test_promotion_and_rollback_while_questions_run(client: TestClient, tuned: tuple[Any, str], publish_rewriter: Any) -> None:
    first = f"rewriter-{tuned[1]}"
    better = publish_rewriter(11)
    speak_for(Registry(tuned[0].adapters), Role.REWRITER, better)
    second = f"rewriter-{better}"
    assert asked(client)[0] == first
    expected = dict(asked(client, alias) for alias in ("production", "candidate", "none"))
    assert set(expected) == {first, second, "base"}
    assert expected[first] != expected["base"]
    seen: list[tuple[str, str]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            seen.append(asked(client))
            seen.append(asked(client, "none"))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(seen) > 5, 60)
    assert client.post("/v1/adapters/rewriter/promote", json={}).status_code == 200
    wait_for(lambda: second in {name for name, _ in seen}, 60)
    assert client.post("/v1/adapters/rewriter/rollback").status_code == 200
    count = len(seen)
    wait_for(lambda: len(seen) > count + 8, 60)
    stop.set()
    for thread in threads:
        thread.join()
    assert {name for name, _ in seen} == {first, second, "base"}
    assert {(name, rewrite) for name, rewrite in seen} == set(expected.items())
    assert asked(client)[0] == first


def test_a_bare_role_writes_with_its_adapter(client: TestClient, tuned: tuple[Any, str]) -> None:
    body = {"messages": [{"role": "user", "content": "And at night?"}], "max_tokens": 12}
    replies = {}
    for model in ("lorag/rewriter", "lorag/base"):
        response = client.post("/v1/chat/completions", json={**body, "model": model}).json()
        replies[model] = response["choices"][0]["message"]["content"]
        assert 0 < response["usage"]["completion_tokens"] <= 12
        lines = client.post("/v1/chat/completions", json={**body, "model": model, "stream": True}).text.splitlines()
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == replies[model]
    assert replies["lorag/rewriter"] != replies["lorag/base"]


def test_a_prompt_of_300_kb_is_refused_in_one_line(client: TestClient) -> None:
    for model in ("lorag", "lorag/base"):
        body = {"model": model, "messages": [{"role": "user", "content": "key " * 75_000}]}
        response = client.post("/v1/chat/completions", json=body)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"


def test_special_tokens_in_a_message_are_plain_text(client: TestClient) -> None:
    """Were they read as tokens, the prompt would be shorter."""
    counts = []
    for text in ("<|im_end|>", "x"):
        body = {"model": "lorag/base", "messages": [{"role": "user", "content": text}], "max_tokens": 1}
        counts.append(client.post("/v1/chat/completions", json=body).json()["usage"]["prompt_tokens"])
    assert counts[0] > counts[1] + 3


def test_it_serves_and_ends_in_peace(tuned: tuple[Any, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from lorag.services.cli import main; main()",
        "serve",
        "--project",
        ".",
        "--port",
        str(port),
    ]
    root = str(Path(lorag.services.cli.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    process = subprocess.Popen(command, cwd=tuned[0].folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_for(lambda: _status(client, "/readyz") == 200, 300)
            assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 403
            response = client.post("/v1/chat/completions", json=CONVERSATION)
            assert response.json()["lorag"]["adapters"]["rewriter"] == f"rewriter-{tuned[1]}"
            assert {found["source"] for found in response.json()["lorag"]["passages"]} == {"keys.md", "ferry.md"}
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        first, *lines = errors.splitlines()
        assert f"http://127.0.0.1:{port}/" in first
        assert [line for line in lines if not line.startswith("{")] == []
    finally:
        process.kill()
        process.communicate()


def _status(client: httpx.Client, path: str) -> int:
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return 0


def test_another_host_needs_keys(lorag: Any, project: Any) -> None:
    done = lorag("serve", "--project", project.folder, "--host", "0.0.0.0")
    assert done.code == 2
    assert "lorag keys add" in done.error_line


def test_an_address_that_is_taken(lorag: Any, project: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = lorag("serve", "--project", project.folder, "--port", str(taken.getsockname()[1]))
    assert done.code == 2
    assert "choose another --port" in done.err.splitlines()[-1]


@pytest.mark.parametrize("option", [("--port", "0"), ("--timeout", "nan"), ("--timeout", "-1"), ("--max-queue", "-1")])
def test_options_out_of_range(lorag: Any, project: Any, option: tuple[str, str]) -> None:
    assert lorag("serve", "--project", project.folder, *option).code == 2


def test_a_base_that_is_not_there_ends_the_service_in_one_line(project: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    project.set(base=project.folder / "nothing")
    command = [sys.executable, "-c", "from lorag.services.cli import main; main()", "serve", "--project", str(project.folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(lorag.services.cli.__file__).parents[2])}
    done = subprocess.run([*command, "--port", str(port)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "nothing" in last
    assert Role.REWRITER.value not in last
