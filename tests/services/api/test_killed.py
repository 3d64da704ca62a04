"""SIGKILL at any moment of an ingest and of a promotion: after a new start nothing is lost and nothing is half done."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.inspection import inspect_folder
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import load_settings
from lorag.pipeline.records import Role
from lorag.services.api.keys import FILE, KeyRing, Scope
from tests.claims import speak_for_each
from tests.services.api.plain_adapters import MakeCard, publish
from tests.services.api.small_service import bearer, make_project, open_small, serving, sources, texts_found, upload, wait_for

ROOT = Path(__file__).resolve().parents[3]
KILLS = 6

INGESTER = """
import sys, time
from pathlib import Path
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from tests.services.api.small_service import serving, upload
from tests.services.api.test_killed import sheet

class Slow(HashingEmbedder):
    def embed_passages(self, texts):  # four times as long in all as any kill waits, on a busy machine too
        time.sleep(0.01 * len(texts))
        return super().embed_passages(texts)

project, key, word = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with serving(project, embedder=Slow(64)) as client:
    print("begin", flush=True)
    job = upload(client, key, {"sheet.md": sheet(word), "small.md": f"The small one says {word}."}, wait=False)
    print(job["id"], flush=True)
    time.sleep(60)
"""

PROMOTER = """
import sys
from pathlib import Path
from tests.services.api.small_service import serving

with serving(Path(sys.argv[1])) as client:
    print("begin", flush=True)
    while True:
        for version in sys.argv[2:]:
            assert client.post("/v1/adapters/rewriter/promote", json={"version": version}).status_code == 200
        assert client.post("/v1/adapters/rewriter/rollback").status_code == 200
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def sheet(word: str) -> str:
    return "\n\n".join(f"Line {n} of the sheet says {word}." for n in range(60))


def lines_of(word: str) -> set[str]:
    return {*sheet(word).split("\n\n"), f"The small one says {word}."}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def test_an_ingest_killed_at_random_moments(project: Path) -> None:
    """Each upload is killed somewhere between its first byte and its end. If it was accepted, the new version is there after a
    start, else the old one; never some of both, and the other tenant and the project's own documents stay as they were."""
    ring = KeyRing(project / FILE)
    scopes = [Scope.ASK, Scope.INGEST]
    red, blue, own = (ring.add(tenant or "own", scopes, tenant) for tenant in ("red", "blue", ""))
    settings = load_settings(project)
    runtime = open_small(settings)
    runtime.index.ingest(settings.documents)
    runtime.close()
    with serving(project) as client:
        upload(client, blue, {"sheet.md": "The blue sheet."})
        own_before = sources(client, own), texts_found(client, own, "key ferry")
        upload(client, red, {"sheet.md": sheet("v0"), "small.md": "The small one says v0."})
    moments, expected, cut_short = random.Random(11), "v0", 0
    for number in range(1, KILLS + 1):
        process = start(INGESTER, project, red, f"v{number}")
        assert line(process) == "begin"
        accepted = ""
        if number > 1:  # the first dies while the upload arrives
            accepted = line(process)
            time.sleep(moments.uniform(0.0, 0.15))
        kill(process)
        unfinished = [job for job in jobs_on_disk(project) if job["state"] in ("queued", "running")]
        cut_short += bool(accepted and unfinished)
        made = {job["id"] for job in jobs_on_disk(project)}
        with serving(project) as client:
            wait_for(lambda client=client: not waiting(client, red))  # type: ignore[misc]
            if accepted:
                assert client.get(f"/v1/jobs/{accepted}", headers=bearer(red)).json()["state"] == "done"
                expected = f"v{number}"
            found = lines_held(client, "red")
            unheard = {f"v{number}"} if made and not accepted else set()  # taken, and killed before it could say so
            expected = next(word for word in {expected, *unheard} if found == lines_of(word))
            assert sources(client, red) == ["sheet.md", "small.md"] and sources(client, blue) == ["sheet.md"]
            assert texts_found(client, blue, "sheet") == {"The blue sheet."}
            assert (sources(client, own), texts_found(client, own, "key ferry")) == own_before
        stored = (project / ".lorag/uploads/red/sheet.md").read_text()
        assert stored.endswith(f"says {expected}.")
        assert list((project / ".lorag/uploads/.incoming").iterdir()) == []
    assert cut_short >= 2, "the kills came too late to mean anything"


def lines_held(client: Any, tenant: str) -> set[str]:
    """The lines of all passages that the index holds for a tenant."""
    passages = client.app.state.lorag.runtime.index.for_tenant(tenant).passages()
    return {line for passage in passages for line in passage.text.split("\n\n")}


def waiting(client: Any, key: str) -> list[Any]:
    jobs = client.get("/v1/jobs", headers=bearer(key)).json()["jobs"]
    return [job for job in jobs if job["state"] in ("queued", "running")]


def jobs_on_disk(project: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((project / ".lorag/jobs").glob("*.json"))]


def test_a_promotion_killed_at_random_moments(project: Path, tmp_path: Path, tiny_card: MakeCard) -> None:
    registry = Registry(project / ".lorag/adapters")
    versions = [publish(registry, tmp_path / f"new-{seed}", tiny_card, seed) for seed in (1, 2)]
    speak_for_each(registry, Role.REWRITER, versions)
    moments = random.Random(3)
    for _ in range(KILLS):
        process = start(PROMOTER, project, *versions)
        assert line(process) == "begin"
        time.sleep(moments.uniform(0.05, 0.3))
        kill(process)
        aliases = dict(registry.aliases(Role.REWRITER))
        assert set(aliases.values()) <= set(versions)
        assert aliases.get("production") != aliases.get("previous") or "previous" not in aliases
        for version in registry.list(Role.REWRITER):
            facts = inspect_folder(version.folder)
            assert facts.weights_digest == registry.show(Role.REWRITER, version.id).identity.weights_digest
        with serving(project) as client:
            (rewriter, *_) = client.get("/v1/adapters").json()["roles"]
            serves = f"rewriter-{aliases['production']}" if "production" in aliases else "base"
            assert (rewriter["serving"], rewriter["aliases"]) == (serves, aliases)
            assert [each["version"] for each in rewriter["versions"]] == versions
            assert client.post("/v1/adapters/rewriter/promote", json={"version": versions[0]}).status_code == 200
    assert registry.aliases(Role.REWRITER)["production"] == versions[0]
