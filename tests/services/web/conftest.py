"""The page in a real headless Chromium, served by the real application over a scripted engine and a real index.

`site` is a running service on two documents; `page` a fresh browser tab on it, in which every script error, every refusal by
the content policy and every request to another host fails the test.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.contracts import rewrite
from lorag.pipeline.engine.protocol import Generation
from lorag.services.api.keys import KeyRing
from tests.services.api.live_service import Live, PacedEngine, closing_index, live

QUOTE = "The porter keeps the key in room 4."
HOSTILE = '<img src=x onerror="window.hacked = 1"><script>window.hacked = 2</script>'
DOCUMENTS = {
    # Characters before the quote that Python counts as one and JavaScript as two.
    "keys.md": f"# Keys & doors\n\nAt sea 🌊 and ashore 🗝️ alike. {QUOTE} At night the bell is rung twice.\n",
    "ferry.md": f"# Ferry\n\nThe ferry to Marrow Point leaves from the north quay at 07:40. {HOSTILE} Bring warm clothes.\n",
}
SETTINGS = "documents: docs\njudge: {intents: {figure: asks for a number, other: anything else}}\n"
REWRITES = {"And at night?": "What is rung at night?"}
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
COUNTING = "one two three four five six seven eight nine ten"

MakeSite = Callable[..., AbstractContextManager[Live]]
OpenPage = Callable[..., Any]


def reply(request: Generation) -> str:
    """What the scripted model says. Only the rewriter's adapter rewrites; the bare base repeats the question."""
    prompt = request.messages[-1].content
    question = prompt.rsplit("Question: ", 1)[1].split("\n")[0]
    if prompt.endswith((rewrite.TUNED_TASK, rewrite.PLAIN_TASK)):
        return REWRITES.get(question, question) if request.adapter else question
    if "ferry" in question:
        return f"At 07:40 {HOSTILE} [{_number(prompt, 'Marrow Point')}] [99]"
    if "moon" in question:
        return "The passages do not say."
    if "Count" in question:
        return COUNTING
    return f"The porter keeps it [{_number(prompt, QUOTE)}]"


def _number(prompt: str, words: str) -> int:
    """The number under which a prompt shows the passage with `words`."""
    return int(re.findall(r"^\[(\d+)\] ", prompt[: prompt.index(words)], re.MULTILINE)[-1])


class Turnstile(threading.Event):
    """Lets so many words through and holds the next until it is set."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self._words = words

    def wait(self, timeout: float | None = None) -> bool:
        self._words -= 1
        return self._words >= 0 or super().wait(timeout)


def prompts(site: Live) -> list[str]:
    """The last message of every text that the engine was asked to write."""
    return [request.messages[-1].content for request in site.engine.requests if isinstance(request, Generation)]


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that holds `DOCUMENTS`; made once, as each file is synced to the disk."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    (folder / "lorag.yaml").write_text(SETTINGS)
    with closing_index(folder) as index:
        index.ingest(folder / "docs")
    return folder


@pytest.fixture
def make_site(tmp_path: Path, ingested: Path) -> MakeSite:
    """`with make_site(keys=…, adapters=FOLDER) as site`. Adapters of a registry serve without being loaded."""

    @contextmanager
    def make(*, keys: KeyRing | None = None, adapters: Path | None = None) -> Iterator[Live]:
        folder = tmp_path / "site"
        shutil.copytree(ingested, folder)
        if adapters is not None:
            (folder / "lorag.yaml").write_text(f"{SETTINGS}adapters: {{folder: {adapters}}}\n")
        with live(folder, PacedEngine(reply)) as site:
            site.state.keys = keys
            yield site

    return make


@pytest.fixture
def site(make_site: MakeSite) -> Iterator[Live]:
    with make_site() as made:
        yield made


@pytest.fixture(scope="module")
def chromium(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A browser for the tests of one file; they are skipped where there is none.

    Not for the whole run: playwright keeps an event loop running in this thread, where other tests run their own.
    """
    if request.config.getoption("without_models"):
        pytest.skip("make check starts no browser; make test does")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so the page meets no browser here")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium is installed, so the page meets no browser here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def mishaps() -> list[str]:
    """What browsers complained of, and requests to other hosts. A test that wants some takes them out."""
    return []


@pytest.fixture
def open_page(chromium: Any, mishaps: list[str]) -> Iterator[OpenPage]:
    """`open_page(site, "#documents", width=380, scheme="dark")` → a tab on that view."""
    contexts: list[Any] = []

    def heard(message: Any) -> None:
        # The browser reports each status that is an error; those are the test's own business.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            mishaps.append(message.text)

    def open_one(site: Live, view: str = "", *, width: int = 1280, height: int = 860, scheme: str = "light") -> Any:
        address = f"http://127.0.0.1:{site.port}/"
        size = {"width": width, "height": height}
        context = chromium.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce", locale="en-GB")
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: mishaps.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith((address, "blob:")) else mishaps.append(request.url))
        page.goto(address + view)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert mishaps == []


@pytest.fixture
def page(site: Live, open_page: OpenPage) -> Any:
    """The conversation of `site`, as wide as a desk."""
    return open_page(site)


def ask(page: Any, question: str) -> Any:
    """Ask and wait for the end of all answers; the last turn."""
    field, asked = page.get_by_label("Your question"), page.locator("article.turn").count()
    field.fill(question)
    field.press("Enter")  # on the field itself: a dialog that was just closed may give the focus back meanwhile
    page.locator("article.turn").nth(asked).wait_for()
    turn = page.locator("article.turn").last
    turn.locator("h2", has_text=question).wait_for()
    page.locator(".lane[aria-busy]").first.wait_for(state="detached")
    return turn


def is_focused(locator: Any) -> bool:
    return bool(locator.evaluate("element => element === document.activeElement"))
