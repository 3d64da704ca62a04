"""The page of `lorag data review --web` in a real browser: keys and buttons, reload, corrections, the end, and for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lorag.services.api.review import ReviewState
from lorag.services.api.review_server import create_review_app
from lorag.training.data.reviewed import Verdict, agreements, read_reviewed
from tests.services.api.live_service import running
from tests.services.web.conftest import HOSTILE, OpenPage, is_focused
from tests.services.web.test_accessibility import MEASURE_TEXT, SCHEMES, WIDTHS, contrast
from tests.training.data.made_rows import lay_rows, lines


@dataclass(frozen=True)
class Review:
    folder: Path
    port: int

    def said(self) -> dict[str, Verdict]:
        return {each.id: each.verdict for each in read_reviewed(self.folder)}


@contextmanager
def reviewing(folder: Path) -> Iterator[Review]:
    state = ReviewState.open(folder, (4, 20), 0)
    with running(create_review_app(state), state) as port:
        yield Review(folder, port)


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    with reviewing(lay_rows(tmp_path / "rows")) as made:
        yield made


@pytest.fixture
def begun(review: Review, open_page: OpenPage) -> Any:
    """The first of four rows."""
    return begin(open_page(review))


def begin(page: Any, rows: int = 4) -> Any:
    page.get_by_role("button", name=f"Read {rows}", exact=True).click()
    at(page, 1, rows)
    return page


def at(page: Any, number: int, rows: int = 4) -> None:
    """Wait for a row."""
    page.get_by_role("article", name=f"Row {number} of {rows}").wait_for()


def question(page: Any) -> str:
    return str(page.locator("article h2").inner_text())


def ended(page: Any) -> None:
    page.get_by_role("heading", name="You and the filters").wait_for()


def test_single_keys_give_verdicts_which_are_kept_at_once(begun: Any, review: Review) -> None:
    assert is_focused(begun.locator("article h2"))
    first = question(begun)
    begun.keyboard.press("k")
    at(begun, 2)
    assert list(review.said().values()) == [Verdict.KEEP]
    assert begun.get_by_role("log").inner_text() == "Kept."
    begun.keyboard.press("s")
    at(begun, 3)
    begun.keyboard.press("b")
    at(begun, 2)
    begun.keyboard.press("b")
    at(begun, 1)
    assert question(begun) == first
    assert begun.get_by_text("You kept this.").is_visible()
    begun.keyboard.press("d")
    at(begun, 2)
    assert list(review.said().values()) == [Verdict.DROP]
    for number in (3, 4):
        begun.keyboard.press("d")
        at(begun, number)
    begun.keyboard.press("k")
    ended(begun)
    shown = [each.inner_text() for each in begun.locator(".agreement li").all()]
    assert shown == [str(each) for each in agreements(read_reviewed(review.folder))]


def test_buttons_do_the_same(begun: Any, review: Review) -> None:
    assert begun.get_by_role("button", name="Back").is_disabled()
    for number, name in ((2, "Keep"), (3, "Drop"), (4, "Skip"), (3, "Back")):
        begun.get_by_role("button", name=name).click()
        at(begun, number)
    begun.get_by_role("button", name="End").click()
    ended(begun)
    assert sorted(review.said().values()) == [Verdict.DROP, Verdict.KEEP]
    begun.get_by_role("button", name="Go on reading").click()
    at(begun, 3)


def test_a_reload_goes_on_with_the_same_row(begun: Any, review: Review) -> None:
    begun.keyboard.press("k")
    at(begun, 2)
    shown = question(begun)
    begun.reload()
    at(begun, 2)
    assert question(begun) == shown and len(review.said()) == 1
    assert begun.get_by_role("status").first.inner_text() == "2 of 4"


def test_question_and_answer_are_corrected_in_one_form(review: Review, open_page: OpenPage) -> None:
    page = begin(open_page(review))
    number = 1
    while page.get_by_role("button", name="Correct answer").is_disabled():  # the question that nothing answers
        page.keyboard.press("s")
        number += 1
        at(page, number)
    page.keyboard.press("a")
    field = page.get_by_label("The answer", exact=True)
    assert is_focused(field)
    page.keyboard.press("Enter")
    assert page.get_by_text("Nothing is changed yet.").is_visible()
    field.fill("")
    page.keyboard.press("Enter")
    assert page.get_by_text("Neither may be empty.").is_visible()
    field.fill("the dark door")  # k and d are letters here
    page.get_by_label("The question", exact=True).fill("Which door?")
    page.keyboard.press("Escape")
    assert field.is_hidden() and review.said() == {}
    page.keyboard.press("q")
    assert is_focused(page.get_by_label("The question", exact=True))
    page.keyboard.type("Which door?")  # in place of the old words, which are selected
    field.fill("the dark door")
    page.get_by_role("button", name="Save").click()
    at(page, number + 1)
    assert page.get_by_role("log").inner_text() == "Corrected."
    (said,) = read_reviewed(review.folder)
    assert (said.verdict, said.question, said.answer) == (Verdict.CORRECT, "Which door?", "the dark door")
    page.keyboard.press("b")
    at(page, number)
    assert question(page) == "Which door?"
    assert page.get_by_text("You corrected this.").is_visible()


def test_keys_with_others_held_down_or_switched_off_do_nothing(begun: Any, review: Review) -> None:
    for key in ("Control+d", "Alt+d", "Meta+d", "z"):
        begun.keyboard.press(key)
    switch = begun.get_by_label("Single keys")
    switch.uncheck()
    begun.locator("article h2").focus()
    begun.keyboard.press("d")
    begun.get_by_role("button", name="Skip").click()
    at(begun, 2)
    assert review.said() == {} and not begun.get_by_label("Single keys").is_checked()
    begun.get_by_label("Single keys").check()
    begun.locator("article h2").focus()
    begun.keyboard.press("D")
    at(begun, 3)
    assert list(review.said().values()) == [Verdict.DROP]


def test_a_key_held_down_is_one_verdict(begun: Any, review: Review) -> None:
    begun.keyboard.down("k")
    at(begun, 2)
    for _ in range(5):
        begun.keyboard.down("k")  # the repeats of a key that stays down
    begun.keyboard.up("k")
    begun.keyboard.press("s")
    at(begun, 3)
    assert len(review.said()) == 1


def test_nothing_in_a_row_is_markup(tmp_path: Path, open_page: OpenPage) -> None:
    folder = lay_rows(tmp_path / "rows")
    passage = f"Sea 🌊 and {HOSTILE} door 1."
    place = len("Sea 🌊 and ") + len(HOSTILE) + 1
    lines(folder / "passages.jsonl", [{"id": "d1#0", "title": HOSTILE, "text": passage}])
    row = {"id": "s-1", "question": HOSTILE, "answers": ["door 1"], "passage_ids": ["d1#0"], "origin": "made"}
    lines(folder / "test" / "synthesizer.jsonl", [row])
    source = {"question": HOSTILE, "passage": "d1#0", "start": place, "end": place + 6, "span": "door 1", "kind": "name"}
    origin = {"id": "s-1", "role": "synthesizer", "split": "test", "how": "", "writer": "x", "of": [source]}
    lines(folder / "origin.jsonl", [origin])
    (folder / "rejected.jsonl").unlink()
    with reviewing(folder) as review:
        page = open_page(review)
        page.get_by_role("button", name="Read 4", exact=True).click()
        at(page, 1, 1)
        assert question(page) == HOSTILE
        assert page.locator("article mark").inner_text() == "door 1", "offsets count code points"
        assert page.locator("article p.passage-text").inner_text() == passage
        assert page.evaluate("window.hacked") is None
        page.keyboard.press("k")
        ended(page)
        page.reload()
        page.get_by_text("Every made test row was read already.").wait_for()


def test_a_service_that_is_gone_is_said_and_the_verdict_can_be_given_again(
    tmp_path: Path, open_page: OpenPage, mishaps: list[str]
) -> None:
    with reviewing(lay_rows(tmp_path / "rows")) as review:
        page = begin(open_page(review))
        first = question(page)
        page.context.set_offline(True)
        page.keyboard.press("k")
        page.get_by_role("alert").wait_for()
        assert question(page) == first and review.said() == {}
        page.context.set_offline(False)
        page.get_by_role("button", name="Try again").click()
        at(page, 2)
        assert list(review.said().values()) == [Verdict.KEEP]


def stages(page: Any) -> Iterator[str]:
    """Each state of the page in turn."""
    page.get_by_role("button", name="Read 20").wait_for()
    yield "start"
    begin(page)
    yield "row"
    page.get_by_role("button", name="Drop").click()
    at(page, 2)
    page.get_by_role("button", name="Back").click()
    at(page, 1)
    page.get_by_role("button", name="Correct question").click()
    page.get_by_role("button", name="Save").click()
    yield "correction"
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="End").click()
    ended(page)
    yield "end"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_stands_out_from_what_is_behind_it(review: Review, open_page: OpenPage, scheme: str) -> None:
    page = open_page(review, scheme=scheme)
    for stage in stages(page):
        found = page.evaluate(MEASURE_TEXT)
        weak = [(each["text"], each["front"], each["back"]) for each in found if contrast(each["front"], each["back"]) < 4.5]
        assert len(found) > 4 and weak == [], stage


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_scrolls_sideways_and_targets_are_large_enough(review: Review, open_page: OpenPage, width: int) -> None:
    page = open_page(review, width=width, height=780)
    for stage in stages(page):
        assert page.evaluate("document.documentElement.scrollWidth") <= width, stage
        wide = page.evaluate(
            "() => [...document.querySelectorAll('main *')].filter((e) => e.checkVisibility() && !e.closest('.unseen')"
            " && e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map((e) => e.textContent)"
        )
        assert wide == [], stage
        small = page.evaluate(
            "() => [...document.querySelectorAll('button, textarea, label.keys')].filter((e) => e.checkVisibility())"
            ".map((e) => [e.textContent, e.getBoundingClientRect()])"
            ".filter(([, box]) => box.width < 24 || box.height < 24).map(([text]) => text)"
        )
        assert small == [], stage


def test_a_rule_engine_finds_nothing(review: Review, open_page: OpenPage) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    for scheme in SCHEMES:
        page = open_page(review, scheme=scheme)
        for stage in stages(page):
            found = axe.run(page).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], (scheme, stage)


def test_all_can_be_done_with_the_keyboard_without_single_keys(review: Review, open_page: OpenPage) -> None:
    page = open_page(review)

    def press_until(found: Any, key: str = "Tab") -> None:
        for _ in range(30):
            page.keyboard.press(key)
            if found.count() and is_focused(found.first):
                return
        raise AssertionError(f"{key} never came to {found}")

    page.get_by_role("button", name="Read 4", exact=True).wait_for()
    press_until(page.get_by_role("button", name="Read 4", exact=True))
    page.keyboard.press("Enter")
    at(page, 1)
    press_until(page.get_by_label("Single keys"), "Shift+Tab")
    page.keyboard.press("Space")
    press_until(page.get_by_role("button", name="Correct question"))
    page.keyboard.press("Enter")
    assert is_focused(page.get_by_label("The question", exact=True))
    page.keyboard.type("Where?")
    page.keyboard.press("Enter")
    at(page, 2)
    assert is_focused(page.locator("article h2")), "the focus goes to the new row"
    press_until(page.get_by_role("button", name="Drop"))
    page.keyboard.press("Space")
    at(page, 3)
    press_until(page.get_by_role("button", name="End"))
    page.keyboard.press("Enter")
    ended(page)
    assert sorted(review.said().values()) == [Verdict.CORRECT, Verdict.DROP]
