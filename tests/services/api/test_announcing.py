"""`lorag serve` in a process of its own: where commands find it, and what a kill leaves."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

import lorag as front_door
from lorag.pipeline.errors import StoreError
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.served_project import ServedProject, open_or_served
from lorag.service_address import FILE, ServiceAddress, service_address
from lorag.services.api.keys import KeyRing, Scope
from lorag.services.api.server import _loopback, listening
from tests.services.api.small_service import make_project, wait_for

ROOT = Path(__file__).resolve().parents[3]

SERVE = """
import sys
import lorag
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.retrieval.embedder import HashingEmbedder

engine = ScriptedEngine(lambda request: "The porter keeps the key. [1]")
with lorag.open(sys.argv[1], engine=engine, embedder=HashingEmbedder(64)) as project:
    project.serve(sys.argv[2], 0)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = make_project(tmp_path / "served")
    with front_door.open(made, embedder=HashingEmbedder(64)) as project:
        project.ingest()
    return made


@contextmanager
def served(folder: Path, host: str = "127.0.0.1") -> Iterator[tuple[subprocess.Popen[str], ServiceAddress]]:
    command = [sys.executable, "-c", SERVE, str(folder), host]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            wait_for(lambda: service_address(folder) is not None or process.poll() is not None, 60)
            address = service_address(folder)
            assert address is not None and address.process == process.pid
            yield process, address
        finally:
            process.terminate()


def answer_of(folder: Path) -> str:
    with open_or_served(folder) as opened:
        assert isinstance(opened, ServedProject)
        return opened.ask("Who keeps the key?").answer.text


def test_a_killed_service_leaves_nothing_that_counts_and_another_takes_its_place(folder: Path) -> None:
    with served(folder) as (process, first):
        assert answer_of(folder) == "The porter keeps the key."
        with front_door.open(folder, embedder=HashingEmbedder(64)) as here, pytest.raises(StoreError) as refused:
            here.index.info()
        assert f"(process {process.pid}); ask it where it is `lorag serve`" in str(refused.value)
        assert answer_of(folder) == "The porter keeps the key."
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (folder / FILE).is_file() and service_address(folder) is None
    with front_door.open(folder, embedder=HashingEmbedder(64)) as here:
        assert here.index.info().passages == 2
    with served(folder) as (_, second):
        assert answer_of(folder) == "The porter keeps the key." and second.key != first.key
    assert not (folder / FILE).exists()


def test_a_service_for_other_machines_is_reached_on_the_loopback_address(folder: Path) -> None:
    KeyRing(folder / ".lorag/keys.json").add("reader", [Scope.ASK])
    with served(folder, "0.0.0.0") as (_, address):
        assert address.url.startswith("http://127.0.0.1:")
        assert answer_of(folder) == "The porter keeps the key."


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("127.0.0.2", 80), "127.0.0.2:80"),
        (("0.0.0.0", 81), "127.0.0.1:81"),
        (("::1", 80, 0, 0), "[::1]:80"),
        (("::", 81, 0, 0), "[::1]:81"),
        (("192.0.2.7", 80), None),
        (("2001:db8::1", 80, 0, 0), None),
    ],
)
def test_the_loopback_address_of_a_socket(name: tuple[Any, ...], expected: str | None) -> None:
    class Listener:
        def getsockname(self) -> tuple[Any, ...]:
            return name

    assert _loopback(cast(socket.socket, Listener())) == expected


def test_the_loopback_address_of_a_real_socket() -> None:
    with listening("localhost", 0) as listener:
        assert _loopback(listener) == f"127.0.0.1:{listener.getsockname()[1]}"
