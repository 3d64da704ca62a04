"""The page for everybody: names and roles, contrast, keyboard, narrow screens, dark, no motion. Measured in the browser."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.services.api.live_service import Live
from tests.services.web.conftest import OpenPage, ask, is_focused

VIEWS = ("ask", "documents", "adapters", "report")
SCHEMES = ("light", "dark")
WIDTHS = (1280, 380, 320)
"""320 is what WCAG 2.2 (1.4.10) asks for; 380 a small telephone."""

MEASURE_TEXT = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((value, n) => value * a + below[n] * (1 - a));
  const backdrop = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.unshift(channels(getComputedStyle(at).backgroundColor));
    return layers.reduce((below, layer) => over(layer.length < 4 ? [...layer, 1] : layer, below), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest(".unseen, .skip")) continue;
    const back = backdrop(element);
    found.push({ text: node.data.trim().slice(0, 40), front: over(channels(getComputedStyle(element).color), back), back });
  }
  return found;
}"""
"""Each visible text with its colour and what lies behind it, as the browser computes them."""


def luminance(colour: list[float]) -> float:
    """Relative luminance of an sRGB colour, WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[float], other: list[float]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [([0, 0, 0], [255, 255, 255], 21.0), ([119, 119, 119], [255, 255, 255], 4.48), ([9, 9, 9], [9, 9, 9], 1)],
)
def test_the_measure_of_contrast(one: list[float], other: list[float], ratio: float) -> None:
    assert contrast(one, other) == pytest.approx(ratio, abs=0.005)


def full(page: Any) -> None:
    """A conversation in which everything is unfolded, in two settings."""
    if page.locator(".panel").get_attribute("open") is None:
        page.locator(".panel > summary").click()
    page.get_by_label("Compare two settings").check()
    turn = ask(page, "Who keeps the key?")
    turn.locator("button.mark").first.click()
    for summary in turn.locator("summary").all():
        if summary.is_visible() and not summary.evaluate("element => element.parentElement.open"):
            summary.click()
    for thumb in turn.get_by_role("button", name="Not right").all():
        thumb.click()
    turn.locator(".feedback-form").last.wait_for()


def views(page: Any) -> Any:
    """Each view in turn, with content."""
    for view in VIEWS:
        page.locator(f"nav a[href='#{view}']").click()
        if view == "ask":
            full(page)
        elif view == "documents":
            page.get_by_text("2 documents").wait_for()
        elif view == "adapters":
            page.get_by_role("region", name="judge").wait_for()
        else:
            page.get_by_text("No report yet").wait_for()
        yield view


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_stands_out_from_what_is_behind_it(site: Live, open_page: OpenPage, scheme: str) -> None:
    page = open_page(site, scheme=scheme)
    for view in views(page):
        found = page.evaluate(MEASURE_TEXT)
        assert len(found) > 5
        weak = [
            (each["text"], round(contrast(each["front"], each["back"]), 2))
            for each in found
            if contrast(each["front"], each["back"]) < 4.5
        ]
        assert weak == [], view


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_follows_the_system(site: Live, open_page: OpenPage, scheme: str) -> None:
    page = open_page(site, scheme=scheme)
    colours = page.evaluate("['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name])")
    back, ink = (luminance([float(number) for number in re.findall(r"[\d.]+", colour)[:3]]) for colour in colours)
    assert (back > ink) is (scheme == "light")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_controls_and_the_focus_stand_out(site: Live, open_page: OpenPage, scheme: str) -> None:
    """Borders of fields and the outline of the focus: 3 or more (WCAG 2.2, 1.4.11)."""
    page = open_page(site, scheme=scheme)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    colours = page.evaluate("""() => {
      const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
      const focus = getComputedStyle(document.activeElement);
      return { edge: of("select", "borderTopColor"), field: of("select", "backgroundColor"), page: of("body", "backgroundColor"),
               focus: focus.outlineColor, width: focus.outlineWidth, style: focus.outlineStyle };
    }""")
    assert (colours.pop("width"), colours.pop("style")) == ("2px", "solid")
    colour = {name: [float(number) for number in re.findall(r"[\d.]+", text)[:3]] for name, text in colours.items()}
    assert contrast(colour["edge"], colour["field"]) >= 3
    assert contrast(colour["focus"], colour["page"]) >= 3


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_scrolls_sideways(site: Live, open_page: OpenPage, width: int) -> None:
    page = open_page(site, width=width, height=780)
    for view in views(page):
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        wide = page.evaluate(
            "(width) => [...document.querySelectorAll('main *')].filter((e) => e.checkVisibility() && !e.closest('.unseen, pre')"
            " && e.getBoundingClientRect().right > width + 1).map((e) => e.className || e.tagName)",
            width,
        )
        assert wide == [], view


def test_targets_are_large_enough_for_a_finger(site: Live, open_page: OpenPage) -> None:
    """24 by 24 CSS pixels or more (WCAG 2.2, 2.5.8)."""
    page = open_page(site, width=380)
    for view in views(page):
        small = page.evaluate("""() => [...document.querySelectorAll("button, select, textarea, nav a, .button, summary")]
          .filter((e) => e.checkVisibility() && !e.closest(".unseen"))
          .map((e) => [e.textContent.slice(0, 20), e.getBoundingClientRect()])
          .filter(([, box]) => box.width < 24 || box.height < 24).map(([text, box]) => [text, box.width, box.height])""")
        assert small == [], view


def test_views_have_landmarks_one_heading_and_a_title_each(site: Live, open_page: OpenPage) -> None:
    page = open_page(site)
    titles = []
    for view in views(page):
        titles.append(page.title())
        assert page.get_by_role("banner").count() == page.get_by_role("main").count() == 1
        assert page.get_by_role("navigation", name="Views").count() == 1
        assert page.get_by_role("heading", level=1).count() == 1
        assert page.locator("nav [aria-current=page]").all_inner_texts() == [view.capitalize()]
        levels = page.evaluate("""[...document.querySelectorAll("main :is(h1, h2, h3, h4, h5)")]
          .filter((e) => e.checkVisibility()).map((e) => Number(e.tagName[1]))""")
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), (view, levels)
    assert titles == ["Ask · LoRAG", "Documents · LoRAG", "Adapters · LoRAG", "Evaluation report · LoRAG"]


def test_every_control_has_a_name_of_its_own(site: Live, open_page: OpenPage) -> None:
    page = open_page(site)
    for view in views(page):
        tree = page.locator("body").aria_snapshot()
        nameless = [
            line
            for line in tree.splitlines()
            if re.fullmatch(r"\s*- (button|link|textbox|combobox|switch|progressbar|meter|img)\b[^\"]*", line)
        ]
        assert nameless == [], view
    page.locator("nav a[href='#ask']").click()
    page.get_by_role("group", name="Setting A", exact=True).wait_for()
    assert page.get_by_role("group", name="Setting A", exact=True).get_by_role("combobox").count() == 4
    assert page.get_by_role("complementary", name="Adapters").get_by_role("switch", name="Compare two settings").is_checked()
    spoken = page.get_by_role("log", name="Announcements").inner_text()
    assert "Setting A: The porter keeps it 1 of the sources cited." in spoken
    assert "Setting B: The porter keeps it 1 of the sources cited." in spoken


def test_a_rule_engine_finds_nothing(site: Live, open_page: OpenPage) -> None:
    """The rules of axe-core for WCAG 2.2 A and AA and good practice."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    for scheme in SCHEMES:
        page = open_page(site, scheme=scheme)
        for view in views(page):
            found = axe.run(page).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], (scheme, view)


def test_all_can_be_done_with_the_keyboard(site: Live, open_page: OpenPage) -> None:
    page = open_page(site)

    def press_until(found: Any, key: str = "Tab") -> None:
        for _ in range(60):
            page.keyboard.press(key)
            if found.count() and is_focused(found.first):
                return
        raise AssertionError(f"{key} never came to {found}")

    page.keyboard.press("Tab")
    assert is_focused(page.get_by_role("link", name="Skip to content"))
    page.keyboard.press("Enter")
    assert is_focused(page.get_by_role("main"))
    field = page.get_by_label("Your question")
    press_until(field)
    page.keyboard.type("Who keeps the key?")
    page.keyboard.press("Enter")
    mark = page.locator("button.mark")
    mark.wait_for()
    assert is_focused(field), "the next question can be typed at once"
    press_until(mark, "Shift+Tab")
    page.keyboard.press("Enter")
    source = page.locator("details.source[open] > summary")
    assert is_focused(source)
    press_until(page.get_by_role("button", name="Back to the answer"))
    page.keyboard.press("Space")
    assert is_focused(mark)
    compare = page.get_by_label("Compare two settings")
    press_until(compare)
    page.keyboard.press("Space")
    assert compare.is_checked()
    press_until(page.get_by_role("link", name="Documents"), "Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_text("2 documents").wait_for()
    assert is_focused(page.get_by_role("heading", name="Documents")), "the focus goes where the new view begins"


def test_nothing_moves_where_the_system_asks_for_calm(site: Live, open_page: OpenPage) -> None:
    site.engine.gate.clear()
    page = open_page(site)  # with reduced motion
    page.get_by_label("Your question").fill("Count")
    page.keyboard.press("Enter")
    page.locator(".working").wait_for()
    assert page.evaluate("document.getAnimations().length") == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate("document.getAnimations().length") > 0, "else the assertion above says nothing"
    site.engine.gate.set()
