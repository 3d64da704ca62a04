"""Documents over HTTP: what one tenant adds and deletes, and all the ways in which it does not reach another's."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from lorag.pipeline.config import load_settings
from lorag.pipeline.retrieval.embedder import HashingEmbedder, Vectors
from lorag.services.api.background import Jobs
from lorag.services.api.keys import FILE, KeyRing, Scope
from lorag.services.api.library import Library
from lorag.services.api.state import Limits
from tests.services.api.small_service import (
    bearer,
    finished,
    make_project,
    open_small,
    serving,
    sources,
    texts_found,
    upload,
    wait_for,
)

RED, BLUE = "The red team meets in the vault on Tuesdays.", "The blue team meets in the attic on Fridays."
OWN = {"The porter keeps the key in room 4.", "The ferry leaves from the north quay at 07:40."}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose own documents are ingested."""
    made = make_project(tmp_path / "project")
    settings = load_settings(made)
    runtime = open_small(settings)
    runtime.index.ingest(settings.documents)
    runtime.close()
    return made


@pytest.fixture
def keys(project: Path) -> dict[str, str]:
    """Keys that may ask and ingest: of two tenants and of the project itself."""
    ring = KeyRing(project / FILE)
    return {name or "own": ring.add(name or "own", [Scope.ASK, Scope.INGEST], tenant=name) for name in ("red", "blue", "")}


@pytest.fixture
def client(project: Path, keys: dict[str, str]) -> Iterator[TestClient]:
    with serving(project) as made:
        yield made


def test_an_upload_is_read_in_found_listed_replaced_and_deleted(client: TestClient, keys: dict[str, str], project: Path) -> None:
    job = upload(
        client, keys["red"], {"team.md": RED, "rows.jsonl": '{"id": 1, "text": "Row one."}\n{"id": 2, "text": "Row two."}'}
    )
    assert (job["state"], job["error"], job["files"], job["done"], job["total"]) == (
        "done",
        None,
        ["team.md", "rows.jsonl"],
        3,
        3,
    )
    listed = client.get("/v1/documents", headers=bearer(keys["red"])).json()
    assert listed == {
        "documents": [
            {"source": "rows.jsonl", "title": "", "documents": 2, "passages": 2, "uploaded": True},
            {"source": "team.md", "title": "team", "documents": 1, "passages": 1, "uploaded": True},
        ],
        "total": 2,
    }
    assert texts_found(client, keys["red"], "team row") == {RED, "Row one.", "Row two."}
    upload(client, keys["red"], {"team.md": RED.replace("vault", "cellar"), "rows.jsonl": '{"id": 2, "text": "Row two."}'})
    assert texts_found(client, keys["red"], "team row") == {RED.replace("vault", "cellar"), "Row two."}
    deleted = client.delete("/v1/documents/team.md", headers=bearer(keys["red"]))
    assert (deleted.status_code, deleted.json()) == (200, {"source": "team.md", "deleted": True})
    assert client.delete("/v1/documents/team.md", headers=bearer(keys["red"])).status_code == 404
    assert texts_found(client, keys["red"], "team row") == {"Row two."}
    assert sorted(path.name for path in (project / ".lorag/uploads/red").iterdir()) == ["rows.jsonl"]
    assert list((project / ".lorag/uploads/.incoming").iterdir()) == []


def test_pages_of_the_list(client: TestClient, keys: dict[str, str]) -> None:
    upload(client, keys["red"], {f"{number}.txt": f"Sheet {number}." for number in range(5)})
    page = client.get("/v1/documents?offset=3&limit=1", headers=bearer(keys["red"])).json()
    assert ([each["source"] for each in page["documents"]], page["total"]) == (["3.txt"], 5)
    for bad in ("offset=-1", "limit=0", "limit=1001", "offset=x", "offset=99999999999999999999"):
        assert client.get(f"/v1/documents?{bad}", headers=bearer(keys["red"])).status_code == 400


def test_each_tenant_sees_its_own_alone(client: TestClient, keys: dict[str, str]) -> None:
    """The same file name in two tenants, with the same and with other content."""
    upload(client, keys["red"], {"team.md": RED, "same.md": "Word for word the same."})
    upload(client, keys["blue"], {"team.md": BLUE, "same.md": "Word for word the same."})
    assert texts_found(client, keys["red"], "team meets same") == {RED, "Word for word the same."}
    assert texts_found(client, keys["blue"], "team meets same") == {BLUE, "Word for word the same."}
    assert texts_found(client, keys["own"], "team meets same") == OWN
    assert sources(client, keys["red"]) == sources(client, keys["blue"]) == ["same.md", "team.md"]
    assert [Path(source).name for source in sources(client, keys["own"])] == ["ferry.md", "keys.md"]
    assert client.delete("/v1/documents/same.md", headers=bearer(keys["red"])).status_code == 200
    assert texts_found(client, keys["blue"], "team meets same") == {BLUE, "Word for word the same."}


def test_answers_rest_on_the_tenants_documents_alone(client: TestClient, keys: dict[str, str]) -> None:
    upload(client, keys["red"], {"team.md": RED})
    for key, passages in (("red", {RED}), ("blue", set()), ("own", OWN)):
        body = {"model": "lorag", "messages": [{"role": "user", "content": RED}]}
        answer = client.post("/v1/chat/completions", json=body, headers=bearer(keys[key]))
        assert {each["text"] for each in answer.json()["lorag"]["passages"]} == passages, (key, answer.text)


def test_uploads_without_a_tenant_stand_beside_the_folders_and_survive_its_ingest(
    client: TestClient, keys: dict[str, str], project: Path
) -> None:
    upload(client, keys["own"], {"keys.md": "A second keys.md, uploaded."})
    settings = load_settings(project)
    index = client.app.state.lorag.runtime.index  # type: ignore[attr-defined]
    for rebuild in (False, True):
        upload(client, keys["red"], {"team.md": RED})
        (project / "docs/ferry.md").write_text("# Ferry\n\nNo ferry today.\n")
        index.ingest(settings.documents, rebuild=rebuild)
        own = {"A second keys.md, uploaded.", "The porter keeps the key in room 4.", "No ferry today."}
        assert texts_found(client, keys["own"], "key ferry") == own
        assert texts_found(client, keys["red"], "key ferry") == {RED}
    assert client.delete("/v1/documents/keys.md", headers=bearer(keys["own"])).status_code == 200
    assert texts_found(client, keys["own"], "key ferry") == {"The porter keeps the key in room 4.", "No ferry today."}


def test_a_file_of_the_projects_folder_is_not_deleted_over_http(client: TestClient, keys: dict[str, str], project: Path) -> None:
    (folder_file,) = [source for source in sources(client, keys["own"]) if source.endswith("keys.md")]
    refused = client.delete(f"/v1/documents/{folder_file}", headers=bearer(keys["own"]))
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_uploaded")
    assert client.delete(f"/v1/documents/{folder_file}", headers=bearer(keys["red"])).status_code == 404
    assert (project / "docs/keys.md").exists() and texts_found(client, keys["own"], "key ferry") == OWN


def test_a_file_is_named_by_its_place_in_the_folder_whatever_path_it_was_read_at(
    project: Path, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "docs/uploads").mkdir()
    (project / "docs/uploads/rows.jsonl").write_text('{"id": "a#b/c", "text": "The tide turns at noon."}\n')
    monkeypatch.chdir(project)
    runtime = open_small(load_settings(project))
    runtime.index.ingest(Path("docs"))
    runtime.close()
    monkeypatch.chdir("/")
    with serving(project) as client:
        assert sources(client, keys["own"]) == ["ferry.md", "keys.md", "uploads/rows.jsonl"]
        named = bearer(keys["own"])
        hits = client.post("/v1/retrieve", json={"query": "tide", "k": 50}, headers=named).json()["hits"]
        assert {hit["source"] for hit in hits} == {"ferry.md", "keys.md", "uploads/rows.jsonl"}
        body = {"model": "lorag", "messages": [{"role": "user", "content": "Who keeps the key?"}]}
        answer = client.post("/v1/chat/completions", json=body, headers=named).json()["lorag"]
        assert {shown["source"] for shown in (*answer["passages"], *answer["citations"])} <= {hit["source"] for hit in hits}
        assert client.delete("/v1/documents/uploads/rows.jsonl", headers=named).json()["error"]["code"] == "not_uploaded"


TENANT_TRICKS: list[dict[str, Any]] = [
    {"params": {"tenant": "red"}},
    {"params": {"lorag.tenant": "red", "filter": '{"tenant": "red"}'}},
    {"headers": {"X-Tenant": "red", "Tenant": "red", "X-Forwarded-User": "red"}},
    {"cookies": {"tenant": "red"}},
]
BODY_TRICKS: list[dict[str, Any]] = [
    {"tenant": "red"},
    {"filter": {"tenant": "red"}},
    {"lorag": {"tenant": "red"}},
    {"user": "red"},
    {"metadata": {"tenant": "red"}},
]


@pytest.mark.filterwarnings("ignore:Setting per-request cookies:DeprecationWarning")
def test_no_parameter_header_or_cookie_names_another_tenant(client: TestClient, keys: dict[str, str]) -> None:
    upload(client, keys["red"], {"team.md": RED})
    for trick, key in itertools.product(TENANT_TRICKS, ("blue", "own")):
        options = {**trick, "headers": {**trick.get("headers", {}), **bearer(keys[key])}}
        hits = client.post("/v1/retrieve", json={"query": RED, "k": 50}, **options)
        assert RED not in hits.text
        assert "team.md" not in client.get("/v1/documents", **options).text
        assert client.get("/v1/jobs", **options).json() == {"jobs": []}
        assert client.delete("/v1/documents/team.md", **options).status_code == 404
    assert texts_found(client, keys["red"], RED) == {RED}


def test_no_key_of_a_body_names_another_tenant(client: TestClient, keys: dict[str, str]) -> None:
    upload(client, keys["red"], {"team.md": RED})
    chat = {"model": "lorag", "messages": [{"role": "user", "content": RED}]}
    bodies: tuple[tuple[str, dict[str, Any]], ...]
    bodies = (("/v1/retrieve", {"query": RED, "k": 50}), ("/v1/chat/completions", chat))
    for trick, (path, body) in itertools.product(BODY_TRICKS, bodies):
        answer = client.post(path, json={**body, **trick}, headers=bearer(keys["blue"]))
        assert answer.status_code in (200, 400)
        if answer.status_code == 200 and path == "/v1/retrieve":
            assert answer.json() == {"hits": []}
        elif answer.status_code == 200:
            assert answer.json()["lorag"]["passages"] == []


def test_no_key_of_a_row_puts_it_on_another_tenants_shelf(client: TestClient, keys: dict[str, str]) -> None:
    row = '{"id": "../red#1", "text": "Planted.", "tenant": "red", "origin": "folder", "document_id": "x", "source": "keys.md"}'
    assert upload(client, keys["blue"], {"rows.jsonl": row})["state"] == "done"
    assert (texts_found(client, keys["red"], "planted"), texts_found(client, keys["own"], "planted")) == (set(), OWN)
    assert sources(client, keys["blue"]) == ["rows.jsonl"] and texts_found(client, keys["blue"], "planted") == {"Planted."}


def test_a_form_field_beside_the_files_is_refused(client: TestClient, keys: dict[str, str]) -> None:
    for data in ({"tenant": "red"}, {"lorag": '{"tenant": "red"}'}):
        answer = client.post("/v1/documents", files={"file": ("x.md", "x")}, data=data, headers=bearer(keys["blue"]))
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(data)))
    assert sources(client, keys["red"]) == sources(client, keys["blue"]) == []


HOSTILE_PATHS = (
    "../red/team.md",
    "..%2fred%2fteam.md",
    "%2e%2e/red/team.md",
    "%2e%2e%2fred%2fteam.md",
    "..%5cred%5cteam.md",
    "red/team.md",
    "uploads/team.md",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "team.md%00",
    "team.md%0a",
    "team.md/",
    "./team.md",
    "TEAM.md",
    "team.md%23",
    "*",
    "",
    "%ff%fe.md",
    ".incoming",
    "_project/team.md",
)


def test_no_path_deletes_what_is_not_the_tenants(client: TestClient, keys: dict[str, str], project: Path) -> None:
    upload(client, keys["red"], {"team.md": RED})
    outside = project.parent / "red/team.md"
    outside.parent.mkdir()
    outside.write_text("not ours")
    before = {str(file) for file in project.rglob("*") if file.is_file()}
    for path, key in itertools.product(HOSTILE_PATHS, ("blue", "own")):
        answer = client.delete(f"/v1/documents/{path}", headers=bearer(keys[key]))
        assert answer.status_code in (400, 404, 405), (path, answer.text)
        assert "error" in answer.json()
    assert {str(file) for file in project.rglob("*") if file.is_file()} == before
    assert outside.read_text() == "not ours" and texts_found(client, keys["red"], RED) == {RED}


def test_passage_and_document_ids_of_another_tenant_lead_nowhere(client: TestClient, keys: dict[str, str]) -> None:
    job = upload(client, keys["red"], {"team.md": RED})
    (hit,) = client.post("/v1/retrieve", json={"query": RED, "k": 1}, headers=bearer(keys["red"])).json()["hits"]
    for name in (hit["passage_id"], hit["passage_id"].partition("#")[0], hit["source"]):
        assert client.delete(f"/v1/documents/{name.replace('#', '%23')}", headers=bearer(keys["blue"])).status_code == 404
    assert client.get(f"/v1/jobs/{job['id']}", headers=bearer(keys["blue"])).status_code == 404
    assert client.get(f"/v1/jobs/{job['id']}", headers=bearer(keys["red"])).json()["state"] == "done"
    assert [each["id"] for each in client.get("/v1/jobs", headers=bearer(keys["red"])).json()["jobs"]] == [job["id"]]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("rules.md", "---\n", "rules.md: holds no passage"),
        ("rows.jsonl", '{"id": 1, "text": " "}\n{"id": 1}\n', 'rows.jsonl:1: "text" must be a non-empty string'),
        ("rows.jsonl", '{"id": 1, "text": "Half \\ud83d."}', "rows.jsonl:1: holds half of a surrogate pair"),
        ("rows.jsonl", '{"id": 1, "text": "Fine.", "year": NaN}', "rows.jsonl:1: not JSON (NaN"),
        ("rows.jsonl", "[" * 100_000, "rows.jsonl:1: not JSON"),
        ("bad.pdf", b"%PDF-1.7 and nothing that follows", "bad.pdf"),
        ("blank.txt", "  \n ", "blank.txt: holds no text"),
    ],
)
def test_a_file_that_cannot_be_used_fails_its_job_and_leaves_what_was_there(
    client: TestClient, keys: dict[str, str], project: Path, name: str, content: str | bytes, complaint: str
) -> None:
    good = "%PDF" not in str(content) and name != "bad.pdf"
    if good:
        upload(client, keys["red"], {name: '{"id": 7, "text": "As before."}' if name.endswith("jsonl") else "As before."})
    job = upload(client, keys["red"], {"fine.md": "This one is fine.", name: content})
    assert job["state"] == "failed" and job["error"].startswith(complaint), job
    assert str(project) not in job["error"] and job["message"].startswith("1 of 2 files read")
    assert texts_found(client, keys["red"], "as before fine") == {"This one is fine."} | ({"As before."} if good else set())
    assert list((project / ".lorag/uploads/.incoming").iterdir()) == []


def test_names_that_differ_in_one_sign_or_begin_alike_are_apart(client: TestClient, keys: dict[str, str]) -> None:
    files = {
        "C#.md": "The sharp sheet.",
        "C&.md": "The other sheet.",
        "C?%.md": "The third sheet.",
        "rows.jsonl": '{"id": "x.md", "text": "The row sheet."}\n',
        "rows.jsonl#x.md": "The fifth sheet.",
    }
    for name, content in files.items():
        upload(client, keys["red"], {name: content})
    upload(client, keys["red"], {"rows.jsonl": files["rows.jsonl"].replace("row", "new")})
    kept = {"The sharp sheet.", "The other sheet.", "The third sheet.", "The new sheet.", "The fifth sheet."}
    assert texts_found(client, keys["red"], "sheet") == kept
    listed = client.get("/v1/documents", headers=bearer(keys["red"])).json()["documents"]
    assert [each["source"] for each in listed if each["uploaded"]] == sorted(files)
    for name, text in (("C#.md", "The sharp sheet."), ("rows.jsonl", "The new sheet."), ("C?%.md", "The third sheet.")):
        assert client.delete(f"/v1/documents/{quote(name)}", headers=bearer(keys["red"])).json()["deleted"]
        kept.remove(text)
        assert texts_found(client, keys["red"], "sheet") == kept


def test_what_was_read_in_part_or_is_kept_is_said_in_the_job(client: TestClient, keys: dict[str, str]) -> None:
    job = upload(client, keys["red"], {"page.html": "<p>The first sheet.</p><script>x = 1"})
    assert job["state"] == "done"
    note = "page.html: <script> in line 1 has no end, so what follows it was not read; close it"
    assert job["message"] == f"1 of 1 files read, 1 passages written; {note}"
    rows = '{"id": 1, "text": "A row."}\n{"id": 2, "text": "Row two."}\n'
    upload(client, keys["red"], {"rows.jsonl": rows})
    job = upload(client, keys["red"], {"rows.jsonl": rows.replace("A row", "New row").replace('"id": 2', '"id"')})
    assert job["state"] == "done" and "rows.jsonl: line 2: not JSON" in job["message"]
    assert job["message"].endswith("rows.jsonl: 1 of its older rows stay searchable")
    assert texts_found(client, keys["red"], "row") >= {"New row.", "Row two."}
    job = upload(client, keys["red"], {"page.html": "<script>only()</script>"})
    assert job["error"] == "page.html: holds no text; its old version stays searchable"
    assert "The first sheet." in texts_found(client, keys["red"], "sheet")


class Slow(HashingEmbedder):
    """Waits in the middle of an upload until it is let go."""

    def __init__(self) -> None:
        super().__init__(64)
        self.entered, self.go = threading.Event(), threading.Event()

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if any("slow" in text for text in texts):
            self.entered.set()
            assert self.go.wait(20)
        return super().embed_passages(texts)


def test_questions_are_answered_while_a_file_is_read_in(project: Path, keys: dict[str, str]) -> None:
    slow = Slow()
    with serving(project, embedder=slow) as client:
        job = upload(client, keys["own"], {"slow.md": "This slow sheet. " * 40}, wait=False)
        assert slow.entered.wait(20)
        assert texts_found(client, keys["own"], "key ferry") == OWN
        assert client.get(f"/v1/jobs/{job['id']}", headers=bearer(keys["own"])).json()["state"] == "running"
        busy = client.delete("/v1/documents/slow.md", headers=bearer(keys["own"]))
        assert (busy.status_code, busy.json()["error"]["code"]) == (409, "busy") and busy.headers["Retry-After"]
        second = upload(client, keys["red"], {"team.md": RED}, wait=False)
        assert second["state"] == "queued"
        slow.go.set()
        assert finished(client, keys["own"], job["id"])["state"] == finished(client, keys["red"], second["id"])["state"] == "done"
        assert client.delete("/v1/documents/slow.md", headers=bearer(keys["own"])).status_code == 200


def test_questions_and_uploads_at_full_speed_on_the_store_in_process(project: Path, keys: dict[str, str]) -> None:
    """Searches go on in four threads while files come in and go out again; none fails and none sees another tenant."""
    problems: list[object] = []
    done = threading.Event()
    with serving(project) as client:

        def ask(key: str, allowed: str) -> None:
            while not done.is_set():
                answer = client.post("/v1/retrieve", json={"query": "team sheet", "k": 50}, headers=bearer(keys[key]))
                texts = {hit["text"] for hit in answer.json().get("hits", ())}
                if answer.status_code != 200 or any(allowed not in text for text in texts):
                    problems.append(answer.text)

        threads = [threading.Thread(target=ask, args=pair) for pair in (("red", "red"), ("blue", "blue")) * 2]
        for thread in threads:
            thread.start()
        for number in range(3):
            for name in ("red", "blue"):
                text = "\n\n".join(f"Sheet {number}.{line} of the {name} team." for line in range(30))
                assert upload(client, keys[name], {f"{number % 2}.md": text})["state"] == "done"
            assert client.delete(f"/v1/documents/{number % 2}.md", headers=bearer(keys["red"])).status_code == 200
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []


def test_too_many_waiting_jobs_are_turned_away(project: Path, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorag.services.api.background.MAX_WAITING", 2)
    slow = Slow()
    with serving(project, embedder=slow) as client:
        for number in range(2):
            upload(client, keys["red"], {f"slow-{number}.md": "slow"}, wait=False)
        refused = client.post("/v1/documents", files={"file": ("c.md", "slow")}, headers=bearer(keys["red"]))
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_jobs")
        assert int(refused.headers["Retry-After"]) > 0
        upload(client, keys["blue"], {"slow.md": "slow"}, wait=False)
        slow.go.set()
        wait_for(lambda: sources(client, keys["blue"]) == ["slow.md"])
        wait_for(lambda: sources(client, keys["red"]) == ["slow-0.md", "slow-1.md"])


def test_an_upload_above_the_limit_is_refused_and_leaves_nothing(project: Path, keys: dict[str, str]) -> None:
    with serving(project, limits=Limits(max_upload=10_000)) as client:
        fits = upload(client, keys["red"], {"a.txt": "word " * 1500})
        assert fits["state"] == "done"
        told = client.post("/v1/documents", files={"file": ("b.txt", "word " * 3000)}, headers=bearer(keys["red"]))
        assert told.status_code == 413

        def chunks() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="c.txt"\r\n\r\n'
            for _ in range(20):
                yield b"word " * 200
            yield b"\r\n--x--\r\n"

        headers = {**bearer(keys["red"]), "Content-Type": "multipart/form-data; boundary=x"}
        assert client.post("/v1/documents", content=chunks(), headers=headers).status_code == 413
        assert sources(client, keys["red"]) == ["a.txt"]
    assert list((project / ".lorag/uploads/.incoming").iterdir()) == []


def test_locks_and_disk_are_waited_for_outside_the_event_loop(
    client: TestClient, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outside: dict[str, set[bool]] = {}

    def watch(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **options: Any) -> Any:
            outside.setdefault(name, set()).add(asyncio._get_running_loop() is None)
            return original(*args, **options)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in ((Jobs, "require_room"), (Jobs, "unless_busy"), (Library, "_incoming"), (Library, "discard")):
        watch(owner, name)
    upload(client, keys["red"], {"team.md": RED})
    refused = client.post("/v1/documents", files=[("file", ("empty.md", b""))], headers=bearer(keys["red"]))
    assert refused.status_code == 400
    assert client.delete("/v1/documents/team.md", headers=bearer(keys["red"])).status_code == 200
    assert outside == dict.fromkeys(("require_room", "unless_busy", "_incoming", "discard"), {True})
