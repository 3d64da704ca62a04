"""`/readyz` and the index: a service whose index keeps nothing is not ready, and becomes ready again by itself."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from lorag.pipeline.errors import StoreError
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.services.api import background
from lorag.services.api.store_health import StoreHealth
from tests.services.api.small_service import finished, make_project, serving, sources, upload, wait_for

LOAD = "import sys, qdrant_edge; qdrant_edge.EdgeShard.load(sys.argv[1])"


class Disk:
    """Refuses flushes while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        flush = EdgeStore.flush

        def flush_or_fail(store: EdgeStore, name: str) -> None:
            if self.full:
                raise StoreError("cannot flush (no space left)")
            flush(store, name)

        monkeypatch.setattr(EdgeStore, "flush", flush_or_fail)


def ready(client: TestClient) -> int:
    return client.get("/readyz").status_code


def test_a_full_disk_is_told_and_what_waited_is_read_in_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE", 0.1)
    monkeypatch.setattr(background, "MAX_STARTS", 10**6)
    disk = Disk(monkeypatch)
    with serving(make_project(tmp_path / "p")) as client:
        client.app.state.lorag.health = StoreHealth(fresh=0)
        upload(client, "", {"one.md": "The first is here.", "two.md": "The second is here."})
        disk.full = True
        wait_for(lambda: ready(client) == 503)
        refused = client.get("/readyz").json()["error"]
        assert refused["code"] == "index_unavailable" and "cannot be flushed" in refused["message"]
        job = upload(client, "", {"three.md": "The third is here."}, wait=False)
        wait_for(lambda: bool(client.get(f"/v1/jobs/{job['id']}").json()["error"]))
        deleted = client.delete("/v1/documents/one.md")
        assert deleted.status_code == 200 and deleted.json() == {"source": "one.md", "deleted": True}
        assert client.delete("/v1/documents/one.md").status_code == 404
        disk.full = False
        wait_for(lambda: ready(client) == 200)
        assert finished(client, "", job["id"])["state"] == "done"
        assert sources(client, "") == ["three.md", "two.md"]


def test_a_program_that_opens_the_index_past_our_lock_stops_nothing(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    with serving(project) as client:
        client.app.state.lorag.health = StoreHealth(fresh=0)
        upload(client, "", {"one.md": "The first is here."})
        (shard,) = (project / ".lorag").glob("**/shard")
        refused = subprocess.run([sys.executable, "-c", LOAD, shard], capture_output=True, text=True, check=False)
        assert "WouldBlock" in refused.stderr
        assert upload(client, "", {"two.md": "The second is here."})["state"] == "done"
        assert client.delete("/v1/documents/one.md").status_code == 200
        assert [ready(client) for _ in range(3)] == [200] * 3
        assert sources(client, "") == ["two.md"]


def test_a_probe_never_waits_and_tests_are_not_piled_up() -> None:
    go, tests = threading.Event(), list[int]()

    def slow() -> None:
        tests.append(1)
        go.wait(20)
        raise OSError

    health = StoreHealth(fresh=0)
    assert [health.problem(slow) for _ in range(5)] == [False] * 5
    assert len(tests) == 1
    go.set()
    wait_for(lambda: health.problem(slow))
    wait_for(lambda: not health.problem(lambda: None))


def test_a_good_result_counts_for_a_while() -> None:
    tests = list[int]()
    health = StoreHealth(fresh=60)
    health._tested = -1e9
    assert not health.problem(lambda: tests.append(1))
    wait_for(lambda: not health._running)
    assert not health.problem(lambda: tests.append(1)) and tests == [1]
