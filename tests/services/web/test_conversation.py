"""Asking in the browser: streaming, sources, verdicts, settings side by side, stopping, and what can go wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorag.assembly import chain_options
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.chain import ChainOptions
from lorag.pipeline.config import Settings
from lorag.pipeline.records import Role
from lorag.services.api.keys import KeyRing, Scope
from tests.services.api.live_service import Live
from tests.services.web.conftest import HOSTILE, QUOTE, MakeSite, OpenPage, Turnstile, ask, is_focused, prompts


def setting(page: Any, side: str, stage: str) -> Any:
    return page.get_by_role("group", name=side, exact=True).get_by_label(stage)


@pytest.fixture
def proven_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge is shown to be better than a floor in every task."""

    def options(settings: Settings, judge: object) -> ChainOptions:
        return replace(chain_options(settings), proven=frozenset({"intent", "answerability", "support"}))

    monkeypatch.setattr("lorag.services.api.runtime.serving_options", options)


def test_a_judge_that_is_not_shown_to_beat_a_rule_gives_no_verdict(page: Any) -> None:
    turn = ask(page, "Who keeps the key?")
    chips = turn.locator(".verdict summary").all_inner_texts()
    assert [re.sub(r"\s+", " ", chip).strip(" ▾") for chip in chips] == [
        f"· {task}: no verdict" for task in ("intent", "answerability", "support")
    ]
    turn.locator(".verdict summary").last.click()
    assert turn.locator(".verdict[open] p").inner_text().startswith("The judge is not shown to be better than a rule")
    assert turn.locator(".verdict[open] dd").all_inner_texts() == []


@pytest.mark.usefixtures("proven_judge")
def test_an_answer_comes_with_its_verdicts_stages_and_sources(page: Any) -> None:
    turn = ask(page, "Who keeps the key?")
    assert turn.locator(".answer-text").inner_text().startswith("The porter keeps it")
    chips = turn.locator(".verdict summary").all_inner_texts()
    assert [re.sub(r"\s+", " ", chip).strip(" ▾") for chip in chips] == [
        "· intent: figure 75 %",
        "✓ answerability: answerable 75 %",
        "✓ support: supported 75 %",
    ]
    turn.locator(".verdict summary").last.click()
    assert turn.locator(".verdict[open] dt").all_inner_texts() == ["supported", "partly", "unsupported"]
    assert turn.locator(".verdict[open] dd").all_inner_texts() == ["75 %", "13 %", "13 %"]
    turn.get_by_text("How it was made").click()
    made = turn.locator(".making-body").inner_text()
    assert all(stage in made for stage in ("rewrite", "retrieve", "answerability", "synthesize", "support", "base"))
    assert turn.locator(".rewrite").count() == 0, "the question stood alone, so no rewrite is shown"


def test_the_answer_streams_in_while_the_model_writes(page: Any, site: Live) -> None:
    site.engine.gate = Turnstile(words=4)
    page.get_by_label("Your question").fill("Count")
    page.keyboard.press("Enter")
    lane = page.locator(".lane")
    lane.get_by_text("one two three four", exact=True).wait_for()
    assert lane.get_attribute("aria-busy") == "true"
    assert "Searched the documents" in lane.locator(".steps").inner_text()
    assert page.get_by_role("button", name="Stop").is_visible()
    assert "one two three four" not in page.locator("#announcer").inner_text(), "a screen reader is not told word by word"
    site.engine.gate.set()
    lane.locator(".answer-text", has_text="nine ten").wait_for()
    page.locator("#announcer", has_text="Answer: one two three").wait_for(state="attached")
    assert page.get_by_role("button", name="Ask", exact=True).is_visible()


def test_a_mark_opens_its_source_with_the_quote_highlighted_and_leads_back(page: Any) -> None:
    turn = ask(page, "Who keeps the key?")
    mark = turn.get_by_role("button", name=re.compile(r"^Source \d: Keys & doors"))
    source = turn.locator("details.source", has=page.locator("q"))
    assert source.get_attribute("open") is None
    assert source.locator("q").inner_text() == QUOTE
    mark.click()
    assert source.get_attribute("open") is not None
    assert source.locator("mark").all_inner_texts() == [QUOTE]
    assert "🌊 and ashore 🗝️ alike. " + QUOTE in source.locator(".passage-text").inner_text()
    assert is_focused(source.locator("summary"))
    source.get_by_role("button", name="Back to the answer").click()
    assert is_focused(mark)


@pytest.mark.parametrize(
    ("text", "citations", "pieces"),
    [
        ("🌊 a key, a key.", [("a key", 9, 14)], ["🌊 a key, ", "<a key>", "."]),
        ("🌊🌊 a key, a key.", [("a key", 10, 15)], ["🌊🌊 a key, ", "<a key>", "."]),
        ("a key, a lock", [("a lock", 7, 13), ("a key", 0, 5)], ["", "<a key>", ", ", "<a lock>", ""]),
        ("a key, a lock", [("a key", None, None)], ["", "<a key>", ", a lock"]),
        ("🌊 a key", [("a key", 50, 55)], ["🌊 ", "<a key>", ""]),
        ("a key", [("elsewhere", 0, 9), ("", 0, 0)], ["a key"]),
        ("a key", [("a key", 0, 5), ("key", 2, 5)], ["", "<a key>", ""]),
    ],
)
def test_offsets_count_characters_as_python_does(page: Any, text: str, citations: list[Any], pieces: list[str]) -> None:
    """The second `a key` is meant, so the place must be right, not only the words."""
    given = [dict(zip(("quote", "start", "end"), each, strict=True)) for each in citations]
    nodes = page.evaluate(
        """async ([text, citations]) => (await import("/static/sources.js")).highlighted(text, citations)
             .map((node) => (typeof node === "string" ? node : `<${node.textContent}>`))""",
        [text, given],
    )
    assert nodes == pieces


def test_passages_that_are_not_cited_lie_folded_beside(page: Any) -> None:
    turn = ask(page, "Who keeps the key?")
    others = turn.locator("details.others")
    assert others.locator("summary").first.inner_text() == "1 passage found and not cited"
    others.locator("summary").first.click()
    assert "Ferry" in others.locator(".source-title").inner_text()


def test_a_refusal_says_so_in_words(page: Any) -> None:
    turn = ask(page, "What is the moon made of?")
    assert turn.locator(".answer-text").inner_text() == "The passages do not say."
    assert "Declined: the passages found do not hold the answer." in turn.inner_text()
    assert turn.locator("button.mark").count() == 0


def test_what_was_said_is_the_history_of_the_next_question_without_its_marks(page: Any, site: Live) -> None:
    ask(page, "Who keeps the key?")
    ask(page, "And at night?")
    told = "User: Who keeps the key?\nAssistant: The porter keeps it\n\nQuestion: And at night?"
    assert sum(told in prompt for prompt in prompts(site)) == 1
    page.get_by_role("button", name="New conversation").click()
    assert page.locator("article.turn").count() == 0
    assert is_focused(page.get_by_label("Your question"))
    asked = len(prompts(site))
    ask(page, "And who keeps the key at night?")
    assert all("User: Who keeps the key?" not in prompt for prompt in prompts(site)[asked:])


def test_hostile_text_in_question_answer_and_document_stays_text(page: Any) -> None:
    question = f"When does the ferry leave? {HOSTILE}"
    turn = ask(page, question)
    assert turn.locator("h2").inner_text() == question
    assert HOSTILE in turn.locator(".answer-text").inner_text()
    assert turn.locator(".mark.dead").inner_text() == "[99]", "a mark that names no passage opens nothing"
    turn.locator("button.mark").click()
    assert HOSTILE in turn.locator(".passage-text").first.inner_text()
    assert page.locator("main img, main script, main iframe").count() == 0
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("how", ["button", "key"])
def test_stopping_ends_the_generation_and_the_next_question_is_taken(page: Any, site: Live, how: str) -> None:
    site.engine.gate = Turnstile(words=2)
    page.get_by_label("Your question").fill("Count")
    page.keyboard.press("Enter")
    lane = page.locator(".lane")
    lane.get_by_text("one two", exact=True).wait_for()
    assert site.engine.abandoned == []
    if how == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.keyboard.press("Escape")
    lane.get_by_text("Stopped.").wait_for()
    assert lane.locator(".answer-text").inner_text() == "one two"
    site.until(lambda: len(site.engine.abandoned) == 1)
    site.engine.gate.set()
    assert is_focused(page.get_by_label("Your question"))
    assert ask(page, "Who keeps the key?").locator(".answer-text").inner_text().startswith("The porter")
    assert all("User: Count" not in prompt for prompt in prompts(site)), "a stopped answer is no part of the conversation"


def test_a_switched_off_adapter_answers_differently_side_by_side(
    make_site: MakeSite, open_page: OpenPage, publish_rewriter: Any, project: Any
) -> None:
    version = publish_rewriter()
    Registry(project.adapters).promote(Role.REWRITER, version)
    with make_site(adapters=project.adapters) as site:
        page = open_page(site)
        ask(page, "Who keeps the key?")
        turn = ask(page, "And at night?")
        assert turn.locator(".rewrite").inner_text() == "Searched for What is rung at night?"
        setting(page, "Stages", "Rewriter").select_option("none")
        assert ask(page, "And at night?").locator(".rewrite").count() == 0

        setting(page, "Stages", "Rewriter").select_option("production")
        page.get_by_label("Compare two settings").check()
        turn = ask(page, "And at night?")
        lanes = turn.locator(".lane")
        assert [re.sub(r"\s+", " ", text) for text in lanes.locator("h3").all_inner_texts()] == [
            "Setting A rewriter production",
            "Setting B rewriter none, synthesizer none, judge none",
        ]
        assert lanes.nth(0).locator(".rewrite").inner_text() == "Searched for What is rung at night?"
        assert lanes.nth(1).locator(".rewrite").count() == 0
        left, right = (lanes.nth(number).bounding_box() for number in (0, 1))
        assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
        lanes.nth(0).get_by_text("How it was made").click()
        assert f"rewriter-{version}" in lanes.nth(0).locator(".making-body").inner_text()


def test_aliases_that_do_not_exist_cannot_be_chosen(page: Any) -> None:
    options = setting(page, "Stages", "Rewriter").locator("option")
    options.filter(has_text="candidate – there is none").wait_for(state="attached")
    assert options.evaluate_all("all => all.map(one => [one.value, one.disabled])") == [
        ["", False],
        ["production", True],
        ["candidate", True],
        ["previous", True],
        ["none", False],
    ]


def test_prompts_are_shown_where_they_are_asked_for(page: Any) -> None:
    page.get_by_label("Keep prompts and replies").check()
    turn = ask(page, "Who keeps the key?")
    turn.get_by_text("How it was made").click()
    turn.get_by_text("Prompt and reply: synthesize").click()
    shown = turn.locator(".prompt[open] pre")
    assert QUOTE in shown.nth(-2).inner_text(), "the last message of the prompt"
    assert shown.last.inner_text() == "The porter keeps it [1]"


# --- keys ---


def test_a_key_is_asked_for_kept_in_the_tab_alone_and_sent(make_site: MakeSite, open_page: OpenPage, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    key = ring.add("ann", [Scope.ASK])
    with make_site(keys=ring) as site:
        page = open_page(site)
        dialog = page.get_by_role("dialog", name="API key")
        dialog.wait_for()
        assert "This server asks for an API key." in dialog.inner_text()
        page.get_by_label("Key", exact=True).fill("lorag-wrong")
        page.keyboard.press("Enter")
        dialog.wait_for(state="hidden")
        turn = ask(page, "Who keeps the key?")
        assert "This server does not know the API key." in turn.inner_text()
        turn.get_by_role("button", name="Enter a key").click()
        page.get_by_label("Key", exact=True).fill(key)
        page.get_by_role("button", name="Use this key").click()
        marks = ask(page, "Who keeps the key?").locator("button.mark")
        marks.first.wait_for()
        assert marks.count() == 1
        assert page.evaluate("Object.values(sessionStorage)") == [key]
        assert page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0
        assert key not in page.content() and key not in page.url

        page.get_by_role("link", name="Documents").click()
        page.get_by_text("lacks the scope ingest").wait_for()
        page.get_by_role("button", name="API key: one is set").click()
        page.get_by_role("button", name="Forget the key").click()
        page.get_by_text("This server asks for an API key.").wait_for()
        assert page.evaluate("sessionStorage.length") == 0


# --- what can go wrong ---


def refusal(status: int, message: str = "said by the server", **headers: str) -> dict[str, Any]:
    body = {"error": {"message": message, "type": "x", "param": None, "code": None}}
    return {"status": status, "content_type": "application/json", "body": json.dumps(body), "headers": headers}


def stream(*events: object, done: bool = True) -> dict[str, Any]:
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + ("data: [DONE]\n\n" if done else "")
    return {"status": 200, "content_type": "text/event-stream", "body": body}


HALF = {"choices": [{"delta": {"content": "The porter"}}]}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refusal(401), "This server asks for an API key."),
        (refusal(403), "That is not allowed: said by the server."),
        (refusal(429, **{"Retry-After": "7"}), "The server is busy with other questions. Try again in 7 s."),
        (refusal(504), "The server ran out of time for this."),
        (refusal(400, "messages: too long"), "messages: too long."),
        ({"status": 502, "body": "<h1>Bad gateway</h1>"}, "The server answered with status 502."),
        (stream(HALF, done=False), "The connection broke before the answer was complete."),
        (stream(HALF, {"error": {"message": "memory ran out", "code": "out_of_memory"}}, done=False), "Memory ran out."),
        (
            stream(HALF, {"error": {"message": "no answer", "code": "timeout"}}, done=False),
            "The server ran out of time for this.",
        ),
        ({"status": 200, "content_type": "text/event-stream", "body": "data: {not json\n\n"}, "The connection broke"),
        (None, "The server cannot be reached."),
    ],
)
def test_what_goes_wrong_is_told_and_the_question_is_not_lost(page: Any, answer: dict[str, Any] | None, told: str) -> None:
    page.route("**/v1/chat/completions", lambda route: route.abort() if answer is None else route.fulfill(**answer))
    turn = ask(page, "Who keeps the key?")
    alert = turn.get_by_role("alert")
    assert told in alert.inner_text()
    page.unroute("**/v1/chat/completions")
    turn.get_by_role("button", name="Ask again").click()
    field = page.get_by_label("Your question")
    assert field.input_value() == "Who keeps the key?"
    assert is_focused(field)
    page.keyboard.press("Enter")
    page.locator("article.turn").nth(1).locator("button.mark").wait_for()


def test_a_server_that_is_still_loading_is_waited_for(site: Live, open_page: OpenPage) -> None:
    runtime, site.state.opened = site.state.opened, None
    page = open_page(site)
    condition = page.locator("#condition")
    condition.get_by_text("The service is starting").wait_for()
    site.state.opened = runtime
    condition.wait_for(state="hidden")
