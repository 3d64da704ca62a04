"""A client that goes away, a service that is told to stop, and connections that are only half there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import Request

from lorag.opening import open_project
from lorag.services.api.state import Lane, Limits, ServiceState
from lorag.services.api.work import items
from tests.services.api.live_service import ANSWER, PacedEngine, live, ready_project
from tests.services.api.small_service import wait_for

BODY: dict[str, Any] = {"model": "lorag", "messages": [{"role": "user", "content": "Who keeps the key?"}]}


def request_head(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return f"POST /v1/chat/completions HTTP/1.1\r\n{head}".encode() + content


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_goes_frees_its_place(tmp_path: Path, streamed: bool) -> None:
    engine = PacedEngine()
    engine.gate.clear()
    with live(ready_project(tmp_path / "p"), engine, Limits(concurrency=1, cache=0)) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(request_head({**BODY, "stream": streamed}))
            service.until(lambda: engine.started == 1)
        service.until(lambda: len(engine.abandoned) == 1 and service.idle)
        engine.gate.set()
        assert httpx.post(f"{service.url}/chat/completions", json=BODY).json()["choices"][0]["message"]["content"] == ANSWER


def test_a_client_that_goes_while_it_waits_never_runs(tmp_path: Path) -> None:
    engine = PacedEngine()
    engine.gate.clear()
    with live(ready_project(tmp_path / "p"), engine, Limits(concurrency=1, cache=0)) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as first:
            first.sendall(request_head(BODY))
            service.until(lambda: engine.started == 1)
            with socket.create_connection(("127.0.0.1", service.port)) as second:
                second.sendall(request_head(BODY))
                service.until(lambda: service.waiting(Lane.MODEL) == 1)
            service.until(lambda: service.waiting(Lane.MODEL) == 0)
            engine.gate.set()
            assert b"200 OK" in first.recv(100)
        service.until(lambda: service.idle)
        assert engine.started == 1


def test_a_stream_that_is_left_in_the_middle(tmp_path: Path) -> None:
    engine = PacedEngine(hold_at=3)
    with live(ready_project(tmp_path / "p"), engine) as service:
        with httpx.stream("POST", f"{service.url}/chat/completions", json={**BODY, "stream": True}) as response:
            next(line for line in response.iter_lines() if '" keeps"' in line)
        service.until(lambda: len(engine.abandoned) == 1 and service.idle)
    assert engine.finished == 0


def test_the_work_ends_though_nobody_asks_for_its_next_item(tmp_path: Path) -> None:
    """A client that goes while an item is being sent leaves the generator suspended, and something may still refer to it."""
    ended = threading.Event()

    def endless() -> Generator[int]:
        try:
            while True:
                time.sleep(0.01)
                yield 1
        finally:
            ended.set()

    async def left(state: ServiceState) -> None:
        leaves = asyncio.Event()

        async def receive() -> dict[str, str]:
            await leaves.wait()
            return {"type": "http.disconnect"}

        app = SimpleNamespace(state=SimpleNamespace(lorag=state))
        suspended = items(Request({"type": "http", "app": app}, receive), endless)
        assert await anext(suspended) == 1
        leaves.set()
        assert await asyncio.to_thread(ended.wait, 20)
        await suspended.aclose()

    state = ServiceState(open_project(ready_project(tmp_path / "p")))
    try:
        asyncio.run(left(state))
    finally:
        state.workers.shutdown()


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"GET /healthz HT",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Le",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
def test_half_a_request_is_given_up(tmp_path: Path, half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorag.services.api.server.HEAD_SECONDS", 0.3)
    monkeypatch.setattr("lorag.services.api.guard.BODY_SECONDS", 0.3)
    with (
        live(ready_project(tmp_path / "p")) as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection,
    ):
        connection.sendall(half)
        started = time.monotonic()
        received = b"".join(iter(lambda: connection.recv(4096), b""))
        assert time.monotonic() - started < 8
        assert received == b"" or b" 408 " in received.splitlines()[0]
        assert httpx.get(f"http://127.0.0.1:{service.port}/healthz").status_code == 200


def test_a_head_that_trickles_gets_no_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorag.services.api.server.HEAD_SECONDS", 0.5)
    with (
        live(ready_project(tmp_path / "p")) as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection,
    ):
        started = time.monotonic()
        with pytest.raises(OSError):  # the reset of a connection that the service has closed
            while time.monotonic() - started < 8:
                connection.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - started < 6


SERVE = """
import sys, threading, time
from pathlib import Path
from lorag.services.api import server
from tests.services.api import live_service as live
project, port = Path(sys.argv[1]), int(sys.argv[2])
engine = live.PacedEngine()
engine.gate.clear()
threading.Thread(target=lambda: (sys.stdin.readline(), engine.gate.set()), daemon=True).start()
server.open_runtime = lambda project, metrics: live.make_runtime(state, engine)
state = live.ServiceState(live.open_project(project), limits=live.Limits(cache=0))
server.run(state, "127.0.0.1", port)
"""


def test_sigterm_finishes_what_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    project = ready_project(tmp_path / "p")
    port = live_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(project), str(port)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{url}/readyz"), 300)
        replies: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: replies.append(httpx.post(f"{url}/v1/chat/completions", json=BODY, timeout=60)))
        asking.start()
        wait_for(lambda: 'lorag_running{lane="model"} 1.0' in httpx.get(f"{url}/metrics").text)
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: not answers(f"{url}/healthz"))
        assert process.poll() is None, "it ended before its request did"
        assert process.stdin is not None
        process.stdin.write("go on\n")
        process.stdin.flush()
        asking.join(30)
        assert replies[0].json()["choices"][0]["message"]["content"] == ANSWER
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        lines = [json.loads(line) for line in errors.splitlines()]
        assert "ready" in [line["event"] for line in lines]
        assert [line["status"] for line in lines if line.get("route") == "/v1/chat/completions"] == [200]
        assert "Who keeps the key" not in errors
    finally:
        process.kill()
        process.communicate()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def live_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])
