"""Documents in the browser: uploading with progress, what is refused, deleting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lorag.services.api.keys import KeyRing, Scope
from tests.services.api.live_service import Live
from tests.services.web.conftest import MakeSite, OpenPage, ask, is_focused


@pytest.fixture
def view(site: Live, open_page: OpenPage) -> Any:
    page = open_page(site, "#documents")
    page.get_by_text("2 documents").wait_for()
    return page


def names(page: Any) -> list[str]:
    """File names of the list; a file of the project's folder is listed with its path."""
    # The cell's own text, not what is visible: the table may be hidden while the list is read again.
    sources = page.locator("tbody th").evaluate_all("cells => cells.map((cell) => cell.firstChild.textContent)")
    return [source.rpartition("/")[2] for source in sources]


def file(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "mimeType": "text/plain", "buffer": text.encode()}


def test_an_upload_is_followed_to_its_end_listed_asked_of_and_deleted(view: Any) -> None:
    assert names(view) == ["ferry.md", "keys.md"]
    assert view.get_by_role("button", name="Delete keys.md").count() == 0, "it lies in the project's folder"
    view.get_by_label("Choose files to add").set_input_files(
        [file("notes <b>&.md", "# Notes\n\nThe porter keeps the key in room 4.\n")]
    )
    job = view.get_by_role("list", name="Uploads").get_by_role("listitem")
    job.get_by_text("Done").wait_for()
    assert "1 of 1 files read" in job.inner_text()
    view.get_by_text("3 documents").wait_for()
    (added,) = set(names(view)) - {"ferry.md", "keys.md"}

    view.get_by_role("link", name="Ask", exact=True).click()
    turn = ask(view, "Who keeps the key?")
    assert {"Notes", "Keys & doors"} <= set(
        turn.locator(".source-title").evaluate_all("all => all.map(one => one.lastChild.data)")
    )

    view.get_by_role("link", name="Documents").click()
    view.get_by_role("button", name=f"Delete {added}").click()
    dialog = view.get_by_role("dialog", name="Delete this document?")
    assert is_focused(dialog.get_by_role("button", name="Cancel")), "what does no harm has the focus"
    view.keyboard.press("Escape")
    assert len(names(view)) == 3
    view.get_by_role("button", name=f"Delete {added}").click()
    dialog.get_by_role("button", name="Delete").click()
    view.get_by_text("2 documents").wait_for()
    assert names(view) == ["ferry.md", "keys.md"]
    assert is_focused(view.get_by_role("heading", name="Documents"))


def test_progress_is_shown_while_a_job_runs(view: Any) -> None:
    states = iter(
        [
            {"state": "queued", "done": 0, "total": 0},
            {"state": "running", "done": 3, "total": 12},
            {"state": "running", "done": 12, "total": 12},
            {"state": "failed", "done": 12, "total": 12, "error": "big.md: its text is empty"},
        ]
    )

    def job(**facts: Any) -> dict[str, Any]:
        return {"id": "0" * 32, "kind": "ingest", "files": ["big.md"], "message": "big.md", "error": None, **facts}

    view.route("**/v1/documents", lambda route: route.fulfill(status=202, json={"job": job(**next(states))}))
    view.route("**/v1/jobs/*", lambda route: route.fulfill(json=job(**next(states))))
    view.get_by_label("Choose files to add").set_input_files([file("big.md", "x")])
    bar = view.get_by_role("progressbar", name="Progress of big.md")
    view.get_by_text("Reading · 3 of 12 passages").wait_for()
    assert bar.evaluate("bar => [bar.value, bar.max]") == [3, 12]
    view.get_by_text("Reading · 12 of 12 passages").wait_for()
    view.get_by_role("alert").get_by_text("big.md: its text is empty").wait_for()


def test_an_unfinished_job_is_found_again_after_a_reload(site: Live, open_page: OpenPage) -> None:
    job = {
        "id": "0" * 32,
        "kind": "ingest",
        "files": ["late.md"],
        "state": "running",
        "done": 1,
        "total": 4,
        "message": "",
        "error": None,
    }
    page = open_page(site)
    page.route("**/v1/jobs", lambda route: route.fulfill(json={"jobs": [job]}))
    page.route("**/v1/jobs/*", lambda route: route.fulfill(json={**job, "state": "done"}))
    page.get_by_role("link", name="Documents").click()
    page.get_by_role("list", name="Uploads").get_by_text("late.md").wait_for()
    page.get_by_role("list", name="Uploads").get_by_text("Done").wait_for()


def test_what_the_server_does_not_take_is_told_beside_the_file(view: Any, site: Live) -> None:
    view.get_by_label("Choose files to add").set_input_files([file("picture.exe", "MZ")])
    view.get_by_role("alert").get_by_text("picture.exe: not a kind that is read").wait_for()
    assert names(view) == ["ferry.md", "keys.md"]


def test_a_dropped_file_is_uploaded(view: Any) -> None:
    transfer = view.evaluate_handle(
        "() => { const t = new DataTransfer(); t.items.add(new File(['# Dropped\\n\\nText.'], 'dropped.md')); return t; }"
    )
    view.dispatch_event(".drop", "drop", {"dataTransfer": transfer})
    view.get_by_text("3 documents").wait_for()


def test_documents_come_page_by_page(view: Any) -> None:
    def listed(route: Any) -> None:
        offset = int(route.request.url.split("offset=")[1].split("&")[0])
        rows = [{"source": f"{n:03}.md", "title": "T", "documents": 1, "passages": n, "uploaded": True} for n in range(120)]
        route.fulfill(json={"documents": rows[offset : offset + 50], "total": 120})

    view.route("**/v1/documents?*", listed)
    view.reload()
    view.get_by_text("120 documents").wait_for()
    for count in (50, 100, 120):
        assert view.locator("tbody tr").count() == count
        if count < 120:
            view.get_by_role("button", name="Show more").click()
            view.locator("tbody tr").nth(count).wait_for()
    assert view.get_by_role("button", name="Show more").is_hidden()
    assert names(view) == [f"{n:03}.md" for n in range(120)]


def test_a_tenant_sees_its_own_documents_alone(make_site: MakeSite, open_page: OpenPage, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    key = ring.add("ann", [Scope.ASK, Scope.INGEST], tenant="ann")
    with make_site(keys=ring) as site:
        page = open_page(site, "#documents")
        page.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")
        page.get_by_text("No documents yet.").wait_for()
