"""Two terminals, a client and a service on one project: documents, uploads and promotions, and nothing is lost.

Two rounds by default. LORAG_TERMINAL_SECONDS=300 goes on for five minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

import lorag as front_door
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.service_address import service_address
from tests.claims import speak_for_each
from tests.services.api.plain_adapters import MakeCard, publish
from tests.services.api.small_service import make_project, wait_for

ROOT = Path(__file__).resolve().parents[3]
SECONDS = float(os.environ.get("LORAG_TERMINAL_SECONDS", "0"))
ROUNDS = 2

SERVE = """
import sys
import lorag
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.retrieval.embedder import HashingEmbedder

engine = ScriptedEngine(lambda request: "It is there. [1]", adapters=[f"rewriter-{version}" for version in sys.argv[2:]])
with lorag.open(sys.argv[1], engine=engine, embedder=HashingEmbedder(64)) as project:
    project.serve(port=0)
"""

TERMINAL = """
import json, sys, time
from pathlib import Path
from typer.testing import CliRunner
from lorag.services.cli import app

folder, name, rounds, seconds, versions = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:]


def lorag(*words):
    done = CliRunner().invoke(app, [*words, "--project", str(folder), "-o", "json"], prog_name="lorag")
    if done.exit_code:
        sys.exit(f"lorag {words}: {done.exit_code} {done.stderr} {done.exception!r}")
    return json.loads(done.stdout)


end, done = time.monotonic() + seconds, 0
while done < rounds or time.monotonic() < end:
    page = folder / f"docs/{name}{done}.md"
    page.write_text(f"# About {name}{done}\\n\\nThe {name}{done} is kept in room {done}.\\n")
    if done >= 2:
        (folder / f"docs/{name}{done - 2}.md").unlink()
    lorag("ingest", *(["--rebuild"] if done % 5 == 4 else []))
    found = lorag("ask", f"Where is the {name}{done} kept?")["trace"]["hits"]
    if page.name not in [Path(hit["source"]).name for hit in found]:
        sys.exit(f"{page.name} was not found")
    if versions:
        if lorag("adapters", "promote", "rewriter", versions[done % 2])["production"] != versions[done % 2]:
            sys.exit("another version serves")
    done += 1
print(done)
"""


@contextmanager
def begun(code: str, log: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Within: a process whose output goes to `log`; killed at the end."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    with log.open("w") as out, subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=out, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def probed(url: str) -> Iterator[list[int]]:
    """Within: the statuses of `/readyz`, asked again and again."""
    stop, seen = threading.Event(), list[int]()

    def probe() -> None:
        while not stop.wait(0.2):
            seen.append(httpx.get(f"{url}/readyz", timeout=30).status_code)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def use(client: httpx.Client, number: int) -> None:
    """Upload a file, delete the one before the last, and search for the new one."""
    name = f"upload{number}.md"
    job = client.post("/v1/documents", files=[("file", (name, f"The upload{number} says so.".encode()))]).json()["job"]["id"]
    wait_for(lambda: client.get(f"/v1/jobs/{job}").json()["state"] in ("done", "failed"), 120)
    ended = client.get(f"/v1/jobs/{job}").json()
    assert ended["state"] == "done", ended
    if number >= 2:
        while (
            deleted := client.delete(f"/v1/documents/upload{number - 2}.md")
        ).status_code == 409:  # a rebuild reads uploads anew
            time.sleep(0.1)
        assert deleted.status_code == 200, deleted.text
    hits = client.post("/v1/retrieve", json={"query": f"What does upload{number} say?", "k": 5}).json()["hits"]
    assert name in [hit["source"] for hit in hits], hits


def test_two_terminals_a_client_and_a_service_lose_nothing(tmp_path: Path, tiny_card: MakeCard) -> None:
    folder = make_project(tmp_path / "shared")
    registry = Registry(folder / ".lorag/adapters")
    versions = [publish(registry, tmp_path / f"new-{seed}", tiny_card, seed) for seed in (1, 2)]
    speak_for_each(registry, Role.REWRITER, versions)
    with ExitStack() as stack:
        service = stack.enter_context(begun(SERVE, tmp_path / "service.log", folder, *versions))
        wait_for(lambda: service_address(folder) is not None, 120)
        address = service_address(folder)
        assert address is not None
        client = stack.enter_context(httpx.Client(base_url=address.url, timeout=120))
        wait_for(lambda: client.get("/readyz").status_code == 200, 120)
        with probed(address.url) as seen:
            terminals = [
                stack.enter_context(begun(TERMINAL, tmp_path / f"{name}.log", folder, name, ROUNDS, SECONDS, *promoted))
                for name, promoted in (("lamp", ()), ("bell", versions))
            ]
            end, uploads = time.monotonic() + SECONDS, 0
            while uploads < ROUNDS + 1 or time.monotonic() < end:
                use(client, uploads)
                uploads += 1
            counts = []
            for terminal, name in zip(terminals, ("lamp", "bell"), strict=True):
                code, told = terminal.wait(timeout=600), (tmp_path / f"{name}.log").read_text()
                assert code == 0, told
                counts.append(int(told))
            assert min(counts) >= ROUNDS
            listed = {each["source"] for each in client.get("/v1/documents", params={"limit": 1000}).json()["documents"]}
            done = {"lamp": counts[0], "bell": counts[1], "upload": uploads}
            expected = {"keys.md", "ferry.md", *(f"{name}{n}.md" for name, count in done.items() for n in (count - 2, count - 1))}
            assert listed == expected
        service.send_signal(signal.SIGKILL)
    print(json.dumps({"rounds": counts, "uploads": uploads, "probes": len(seen), "not ready": len(seen) - seen.count(200)}))
    assert set(seen) == {200}
    with front_door.open(folder, embedder=HashingEmbedder(64)) as project:
        assert {file.name for file in project.index.files()} == expected
        report = project.ingest()
        assert (report.added, report.changed, report.removed) == (0, 0, 0)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-s", "-n0"]))
