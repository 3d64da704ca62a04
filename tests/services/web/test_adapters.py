"""Adapters and the evaluation report in the browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from lorag.services.api.keys import KeyRing, Scope
from lorag.services.api.report import FOLDERS
from tests.claims import speak_for
from tests.services.api.live_service import Live
from tests.services.conftest import Project, Publish
from tests.services.web.conftest import MakeSite, OpenPage


@pytest.fixture
def versions(publish_rewriter: Publish, project: Project) -> tuple[str, str]:
    """Two versions of a rewriter: the first in production, the second the candidate."""
    first = publish_rewriter(3)
    Registry(project.adapters).promote(Role.REWRITER, first)
    second = publish_rewriter(4)
    speak_for(Registry(project.adapters), Role.REWRITER, second)
    return first, second


@pytest.fixture
def adapted(make_site: MakeSite, project: Project, versions: tuple[str, str]) -> Iterator[Live]:
    with make_site(adapters=project.adapters) as site:
        yield site


def confirm(page: Any, title: str, yes: str) -> None:
    page.get_by_role("dialog", name=title).get_by_role("button", name=yes).click()


def test_versions_cards_promotion_and_rollback(adapted: Live, open_page: OpenPage, versions: tuple[str, str]) -> None:
    first, second = versions
    page = open_page(adapted, "#adapters")
    role = page.get_by_role("region", name="rewriter")
    cards = role.get_by_role("listitem")
    cards.first.wait_for()
    assert [cards.nth(n).locator("code").inner_text() for n in range(2)] == [second, first], "the newest first"
    assert "candidate" in cards.nth(0).inner_text()
    assert "● production" in cards.nth(1).inner_text()
    assert "0.200 → 0.600" in cards.nth(0).inner_text()
    assert "+0.400 (+0.100 to +0.700, n = 30)" in cards.nth(0).inner_text()
    assert f"▲ better than {first}" in cards.nth(0).inner_text()
    assert "▲ better than the base" in cards.nth(1).inner_text()
    assert page.get_by_role("region", name="judge").get_by_text("Serving now: base").is_visible()

    cards.nth(0).get_by_text("Card").click()
    cards.nth(0).get_by_text("SHA-256").wait_for()
    facts = cards.nth(0).locator(".card-body").inner_text()
    assert all(text in facts for text in ("sft", "made up", "apache-2.0", "train 2, dev 1"))

    role.get_by_role("button", name=f"Promote rewriter {second}").click()
    confirm(page, f"Promote rewriter {second}?", "Promote")
    role.get_by_text(f"Serving now: rewriter-{second}").wait_for()
    assert adapted.state.runtime.serving()["rewriter"] == f"rewriter-{second}"
    role.get_by_role("button", name="Roll back").click()
    confirm(page, "Roll the rewriter back?", "Roll back")
    role.get_by_text(f"Serving now: rewriter-{first}").wait_for()
    assert adapted.state.runtime.serving()["rewriter"] == f"rewriter-{first}"


def test_a_key_that_may_only_ask_sees_adapters_and_changes_none(
    make_site: MakeSite, open_page: OpenPage, project: Project, versions: tuple[str, str], tmp_path: Path
) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    key = ring.add("ann", [Scope.ASK])
    with make_site(keys=ring, adapters=project.adapters) as site:
        page = open_page(site, "#adapters")
        page.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")
        page.get_by_role("button", name=f"Promote rewriter {versions[1]}").click()
        confirm(page, f"Promote rewriter {versions[1]}?", "Promote")
        alert = page.get_by_role("alert")
        alert.get_by_text("That is not allowed: the key ann lacks the scope admin.").wait_for()
        assert alert.get_by_role("button", name="Enter a key").is_visible()
        assert site.state.runtime.serving()["rewriter"] == f"rewriter-{versions[0]}"


# --- the report ---

REPORT = """<!doctype html><html><head><style>h1 { color: rgb(1, 2, 3); }</style></head>
<body><h1>Figures</h1><p id="more"><a href="#more">to here</a></p><form class="tools">search</form>
<img src="https://elsewhere.invalid/x.png" alt=""><script>parent.hacked = 1</script>
<p onclick="parent.hacked = 2">press</p></body></html>"""


def test_the_report_is_shown_with_its_style_and_can_run_nothing(site: Live, open_page: OpenPage, mishaps: list[str]) -> None:
    folder = site.state.project.folder / FOLDERS[0]
    folder.mkdir(parents=True)
    (folder / "report.html").write_text(REPORT, encoding="utf-8")
    page = open_page(site, "#report")
    frame = page.frame_locator("iframe[title='Evaluation report']")
    heading = frame.get_by_role("heading", name="Figures")
    heading.wait_for()
    assert page.locator("iframe").get_attribute("sandbox") == "allow-same-origin"
    assert heading.evaluate("element => getComputedStyle(element).color") == "rgb(1, 2, 3)"
    frame.get_by_text("press").click()
    frame.get_by_role("link", name="to here").click()
    assert heading.is_visible(), "a link inside the report stays inside it"
    assert frame.locator(".tools").is_hidden()
    assert page.evaluate("window.hacked") is None
    assert any("elsewhere.invalid" in told and "blocked" in told for told in mishaps)
    assert all("elsewhere.invalid" in told or told.startswith("Blocked script execution in 'blob:") for told in mishaps)
    mishaps.clear()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "report.html"
    assert Path(download.value.path()).read_text(encoding="utf-8") == REPORT


def test_a_project_without_a_report_says_how_to_make_one(site: Live, open_page: OpenPage) -> None:
    page = open_page(site, "#report")
    page.get_by_text("No report yet. lorag eval ablation makes one.").wait_for()
