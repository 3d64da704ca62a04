"""Commands in a second terminal while the project is served: they go through the service, and what it answers is the same."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import lorag as front_door
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import ConfigError, ServiceError, StoreError
from lorag.pipeline.records import Query, Role, Speaker, Turn
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.served_project import ServedProject, open_or_served
from lorag.service_address import FILE, service_address
from lorag.services.api.keys import KeyRing, Scope
from tests.claims import speak_for_each
from tests.services.api.announced import Announced, announced_service
from tests.services.api.plain_adapters import MakeCard, publish
from tests.services.api.small_service import make_project

QUESTION = "Who keeps the key?"
ANSWER = "The porter keeps the key."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = make_project(tmp_path / "served")
    with opened_here(made) as project:
        project.ingest()
    return made


def opened_here(folder: Path) -> front_door.Project:
    engine = ScriptedEngine(lambda request: f"{ANSWER} [1]")
    return front_door.open(folder, engine=engine, embedder=HashingEmbedder(64))


@pytest.fixture
def service(folder: Path) -> Iterator[Announced]:
    with announced_service(folder) as made:
        yield made


def through(folder: Path) -> ServedProject:
    opened = open_or_served(folder)
    assert isinstance(opened, ServedProject)
    return opened


# --- ask and chat ---


def test_an_answer_is_the_one_that_the_project_gives_without_a_service(folder: Path) -> None:
    query = Query("And at night?", (Turn(Speaker.USER, "Who keeps\nthe key?"), Turn(Speaker.ASSISTANT, "The porter.")))
    with opened_here(folder) as project:
        expected, streamed = project.ask(query), list(project.stream(query))
    with announced_service(folder), through(folder) as served:
        assert served.load().ask(query) == expected
        events = list(served.stream(query))
    assert [event for event in events if event in streamed] == events and len(events) > 1
    assert expected.trace.hits and expected.answer.citations


def test_ask_and_chat_work_while_the_project_is_served(folder: Path, service: Announced, lorag: Any) -> None:
    for options in ((), ("--trace",)):
        asked = lorag("ask", QUESTION, "--project", folder, *options)
        assert asked.code == 0 and ANSWER in asked.out and "keys.md:" in asked.out and asked.err == ""
    as_json = lorag("ask", QUESTION, "--project", folder, "-o", "json").json()
    assert as_json["answer"] == ANSWER and as_json["trace"]["hits"][0]["source"] == str(folder / "docs/keys.md")
    talked = lorag("chat", "--project", folder, input=f"{QUESTION}\nAnd at night?\n/trace\n/quit\n")
    assert talked.code == 0 and talked.out.count(ANSWER) >= 2 and "Passages" in talked.out


def test_an_error_of_the_service_is_the_commands_own(folder: Path, service: Announced, lorag: Any) -> None:
    assert "question is empty" in lorag("ask", " ", "--project", folder).error_line
    with through(folder) as served, pytest.raises(front_door.InputError, match="empty"):
        list(served._post("ask", {"query": Query(" ")}))


def test_a_library_user_is_told_where_it_is_and_harms_nothing(folder: Path, service: Announced) -> None:
    with opened_here(folder) as project:
        with pytest.raises(StoreError, match="open already in this process"):
            project.ask(QUESTION)
        with pytest.raises(ConfigError, match="add documents through it"):
            project.ingest()
    with through(folder) as served:
        (folder / "docs/bell.md").write_text("# Bell\n\nThe bell is rung twice.\n")
        assert served.ingest().added == 1


# --- ingest ---


def test_ingest_reads_what_is_new_and_gone_and_accounts_for_it(folder: Path, service: Announced, lorag: Any) -> None:
    (folder / "docs/bell.md").write_text("# Bell\n\nThe bell is rung twice at night.\n")
    (folder / "docs/ferry.md").unlink()
    (folder / "docs/scan.bin").write_bytes(b"\0\1")
    done = lorag("ingest", "--project", folder, "-o", "json").json()
    assert (done["added"], done["unchanged"], done["removed"], done["gone"]) == (1, 1, 1, ["ferry.md"])
    assert {file["path"]: file["status"] for file in done["files"]}["keys.md"] == "read"
    hits = lorag("ask", "When is the bell rung?", "--project", folder, "-o", "json").json()["trace"]["hits"]
    assert {Path(hit["source"]).name for hit in hits} == {"bell.md", "keys.md"}


def test_a_rebuild_fills_a_new_collection_and_keeps_uploads(folder: Path, service: Announced, lorag: Any) -> None:
    files = [("file", ("up.md", b"# Up\n\nThe stairs are steep."))]
    job = httpx.post(f"{service.url}/v1/documents", files=files).json()["job"]["id"]
    while httpx.get(f"{service.url}/v1/jobs/{job}").json()["state"] not in ("done", "failed"):
        pass
    before = service.state.runtime.index.info()
    done = lorag("ingest", "--rebuild", "--project", folder, "-o", "json").json()
    assert done["collection"] != before.collection and done["passages"] == before.passages
    assert "up.md" in httpx.get(f"{service.url}/v1/documents").text


def test_ingests_through_the_service_take_turns(folder: Path, service: Announced) -> None:
    errors: list[Exception] = []

    def ingest(number: int) -> None:
        try:
            with through(folder) as served:
                (folder / f"docs/new-{number}.md").write_text(f"# New\n\nNumber {number} is new.\n")
                served.ingest(rebuild=number % 2 == 0)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ingest, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    found = {file.name for file in service.state.runtime.index.files()}
    assert found >= {f"new-{number}.md" for number in range(4)}


def test_an_ingest_that_is_refused_says_why(folder: Path, service: Announced, lorag: Any) -> None:
    (folder / "docs").rename(folder / "papers")
    assert "docs" in lorag("ingest", "--project", folder).error_line


def test_changed_settings_are_named_and_no_ingest_goes_by_the_old_ones(folder: Path, service: Announced, lorag: Any) -> None:
    with (folder / "lorag.yaml").open("a") as file:
        file.write("retrieval: {k: 3}\n")
    asked = lorag("ask", QUESTION, "--project", folder)
    assert asked.code == 0 and "lorag.yaml has changed since" in asked.err
    refused = lorag("ingest", "--project", folder)
    assert refused.code == 2 and "end that service, or take the change back" in refused.err


# --- adapters ---


def test_promotion_and_rollback_serve_at_once(
    folder: Path, service: Announced, lorag: Any, tmp_path: Path, tiny_card: MakeCard
) -> None:
    registry = Registry(folder / ".lorag/adapters")
    first, second = (publish(registry, tmp_path / f"new-{seed}", tiny_card, seed) for seed in (1, 2))
    speak_for_each(registry, Role.REWRITER, [first, second])
    for version in (first, second):
        done = lorag("adapters", "promote", "rewriter", version, "--project", folder, "-o", "json").json()
        assert done["production"] == version and done["evidence"]["metric"] == "ROUGE-1"
        assert service.state.runtime.serving()["rewriter"] == f"rewriter-{version}"
    back = lorag("adapters", "rollback", "rewriter", "--project", folder, "-o", "json").json()
    assert (back["production"], back["previous"]) == (first, second)
    assert service.state.runtime.serving()["rewriter"] == f"rewriter-{first}"
    worse = publish(registry, tmp_path / "new-3", tiny_card, 3, better=False)
    refused = lorag("adapters", "promote", "rewriter", worse, "--project", folder)
    assert refused.code == 2 and worse in refused.err
    assert (
        "no version 0009-00000000 of the rewriter"
        in lorag("adapters", "promote", "rewriter", "0009-00000000", "--project", folder).err
    )


# --- who finds the service, and who does not ---


def test_only_the_owner_can_read_the_key_and_it_is_gone_after(folder: Path) -> None:
    with announced_service(folder) as service:
        assert (folder / FILE).stat().st_mode & 0o777 == 0o600
        address = service_address(folder)
        assert address is not None and (address.url, address.process) == (service.url, os.getpid())
        (folder / FILE).chmod(0o640)
        assert service_address(folder) is None
        (folder / FILE).chmod(0o600)
    assert not (folder / FILE).exists() and service_address(folder) is None


def test_the_owner_needs_no_api_key_and_others_get_nothing_for_nothing(folder: Path, lorag: Any) -> None:
    key = KeyRing(folder / ".lorag/keys.json").add("reader", list(Scope))
    with announced_service(folder) as service:
        assert ANSWER in lorag("ask", QUESTION, "--project", folder).out
        body = {"query": {"question": QUESTION, "history": []}}
        for headers in ({}, {"Authorization": f"Bearer {key}"}, {"Authorization": "Bearer é"}):
            encoded = {name: value.encode() for name, value in headers.items()}
            for route in ("ask", "ingest", "promote", "rollback"):
                assert httpx.post(f"{service.url}/v1/owner/{route}", json=body, headers=encoded).status_code == 401
            assert httpx.get(f"{service.url}/v1/owner/index", headers=encoded).status_code == 401
        assert httpx.get(f"{service.url}/v1/documents").status_code == 401
        assert "owner" not in httpx.get(f"{service.url}/openapi.json").text.replace("owner of", "")


def test_a_file_that_a_killed_service_left_is_ignored(folder: Path, service: Announced, tmp_path: Path) -> None:
    left = (folder / FILE).read_text()
    copy = tmp_path / "copy"
    (copy / ".lorag").mkdir(parents=True)
    (copy / FILE).write_text(left)
    (copy / FILE).chmod(0o600)
    (copy / ".lorag/serve.lock").write_text(f"{os.getpid()} lorag serve")
    (copy / "lorag.yaml").write_bytes((folder / "lorag.yaml").read_bytes())
    (copy / "docs").mkdir()
    assert service_address(copy) is None
    assert isinstance(open_or_served(copy), front_door.Project)


def test_a_port_that_another_program_has_gets_no_key(folder: Path, tmp_path: Path) -> None:
    other = make_project(tmp_path / "other")
    with announced_service(other) as stranger, announced_service(folder):
        address = json.loads((folder / FILE).read_text())
        (folder / FILE).write_text(json.dumps({**address, "url": stranger.url}))
        assert isinstance(open_or_served(folder), front_door.Project)
        (folder / FILE).write_text(json.dumps({**address, "url": "http://127.0.0.1:1"}))
        assert isinstance(open_or_served(folder), front_door.Project)


def test_a_folder_that_was_moved_while_served_is_named(folder: Path, service: Announced, tmp_path: Path, lorag: Any) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert ANSWER in lorag("ask", QUESTION, "--project", link).out
    folder.rename(tmp_path / "moved")
    try:
        told = lorag("ask", QUESTION, "--project", tmp_path / "moved").error_line
        assert f"was moved from {folder} while `lorag serve`" in told
    finally:
        (tmp_path / "moved").rename(folder)


def test_a_service_of_another_version_is_named(folder: Path, service: Announced, lorag: Any) -> None:
    address = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**address, "version": "0.0.9"}))
    assert "is LoRAG 0.0.9, and this is" in lorag("ask", QUESTION, "--project", folder).error_line


def test_a_service_that_ends_in_the_middle_is_named(folder: Path) -> None:
    with announced_service(folder), through(folder) as served:
        address = served.address
    with pytest.raises(ServiceError, match=rf"process {address.process}\) at {address.url} ended"):
        ServedProject(folder, served.settings, address).ask(QUESTION)


def test_doctor_asks_the_service(folder: Path, service: Announced, lorag: Any) -> None:
    state = lorag("doctor", "--project", folder, "-o", "json").json()["project"]
    assert state["index"].startswith("2 passages in ") and service.url in state["index"] and not state["problems"]
