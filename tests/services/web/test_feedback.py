"""Feedback in the browser: thumbs, the form below the answer, what reaches the disk, and what can go wrong."""

from __future__ import annotations

from typing import Any

from lorag.feedback import ProjectFeedback
from lorag.pipeline.feedback.records import Feedback, Opinion, Rating, Reason
from lorag.services.api.keys import KeyRing, Scope
from tests.services.api.live_service import Live
from tests.services.web.conftest import MakeSite, OpenPage, ask, is_focused


def kept(site: Live, tenant: str = "") -> tuple[Feedback, ...]:
    return site.state.project.feedback.list(tenant).entries


def pressed(turn: Any) -> list[str]:
    return list(turn.locator(".thumb[aria-pressed=true]").all_inner_texts())


def test_a_thumb_is_kept_at_once_and_can_be_taken_back(site: Live, page: Any) -> None:
    turn = ask(page, "Who keeps the key?")
    assert pressed(turn) == []
    turn.get_by_role("button", name="Right", exact=True).click()
    turn.get_by_text("Kept with this answer.").wait_for()
    (given,) = kept(site)
    assert (given.opinion, given.trace.question) == (Opinion(Rating.UP), "Who keeps the key?")
    assert pressed(turn) == ["Right"]
    assert turn.locator(".feedback-form").is_hidden()
    assert "Kept with this answer." in page.get_by_role("log", name="Announcements").inner_text()
    turn.get_by_role("button", name="Right", exact=True).click()
    turn.get_by_text("Withdrawn.").wait_for()
    assert kept(site) == ()
    assert pressed(turn) == []


def test_the_form_says_what_was_wrong_and_what_would_have_been_right(site: Live, page: Any) -> None:
    turn = ask(page, "Who keeps the key?")
    turn.get_by_role("button", name="Not right").click()
    form = turn.get_by_role("form", name="What was wrong")
    form.wait_for()
    assert is_focused(form.get_by_label("It is not correct"))
    form.get_by_label("It is not correct").check()
    form.get_by_label("Something else", exact=True).check()
    form.get_by_label("The right answer").fill("The deputy. 🗝️")
    form.get_by_label("Keys & doors").select_option("Wrong source")
    form.get_by_label("Ferry").select_option("Holds the answer")
    form.get_by_label("What the question should have been").fill("Who has the key?")
    form.get_by_label("Anything else").fill("As of May.")
    form.get_by_role("button", name="Send").click()
    turn.get_by_text("Thank you.").wait_for()
    (given,) = kept(site)
    ids = {hit.passage_id.partition("#")[0]: hit.passage_id for hit in given.trace.hits}
    assert given.opinion == Opinion(
        Rating.DOWN,
        (Reason.INCORRECT, Reason.OTHER),
        "As of May.",
        "The deputy. 🗝️",
        "Who has the key?",
        (ids["keys.md"],),
        (ids["ferry.md"],),
    )
    again = turn.get_by_role("button", name="Say what was wrong")
    assert is_focused(again)
    assert form.is_hidden()
    again.click()
    assert form.get_by_label("The right answer").input_value() == "The deputy. 🗝️"


def test_where_the_documents_do_not_say_there_is_no_right_answer(site: Live, page: Any) -> None:
    turn = ask(page, "Who keeps the key?")
    turn.get_by_role("button", name="Not right").click()
    form = turn.get_by_role("form", name="What was wrong")
    form.get_by_label("The right answer").fill("The deputy.")
    form.get_by_label("Keys & doors").select_option("Holds the answer")
    form.get_by_label("The documents do not say").check()
    assert form.get_by_label("The right answer").is_disabled()
    form.get_by_role("button", name="Send").click()
    turn.get_by_text("Thank you.").wait_for()
    (given,) = kept(site)
    assert given.opinion == Opinion(Rating.DOWN, not_in_documents=True)


def test_all_of_it_can_be_done_with_the_keyboard(site: Live, page: Any) -> None:
    turn = ask(page, "Who keeps the key?")
    turn.get_by_role("button", name="Not right").focus()
    page.keyboard.press("Space")
    form = turn.get_by_role("form", name="What was wrong")
    form.wait_for()
    page.keyboard.press("Space")
    for _ in range(6):  # past the other reasons
        page.keyboard.press("Tab")
    page.keyboard.type("The deputy.")
    for _ in range(30):
        page.keyboard.press("Tab")
        if is_focused(form.get_by_role("button", name="Send")):
            break
    page.keyboard.press("Enter")
    turn.get_by_text("Thank you.").wait_for()
    assert [(each.opinion.reasons, each.opinion.answer) for each in kept(site)] == [((Reason.INCORRECT,), "The deputy.")]


def test_two_settings_have_feedback_of_their_own(site: Live, page: Any) -> None:
    page.get_by_label("Compare two settings").check()
    turn = ask(page, "Who keeps the key?")
    for name, thumb in (("Setting A", "Right"), ("Setting B", "Not right")):
        group = turn.get_by_role("group", name=f"Feedback on {name}")
        group.get_by_role("button", name=thumb, exact=True).click()
        group.get_by_text("Kept with this answer.").wait_for()
    assert sorted(str(each.opinion.rating) for each in kept(site)) == ["down", "up"]
    assert len({each.trace.id for each in kept(site)}) == 2


def test_turns_of_the_page_are_one_conversation(site: Live, page: Any) -> None:
    for question in ("Who keeps the key?", "And at night?", "When does the ferry leave?"):
        turn = ask(page, question)
        turn.get_by_role("button", name="Right", exact=True).click()
        turn.get_by_text("Kept with this answer.").wait_for()
    assert len({each.trace.conversation for each in kept(site)}) == 1
    page.get_by_role("button", name="New conversation").click()
    turn = ask(page, "Who keeps the key?")
    turn.get_by_role("button", name="Right", exact=True).click()
    turn.get_by_text("Kept with this answer.").wait_for()
    assert len({each.trace.conversation for each in kept(site)}) == 2


def test_an_answer_that_is_forgotten_and_a_lost_server_are_said(site: Live, page: Any) -> None:
    turn = ask(page, "Who keeps the key?")
    site.state.project.feedback = ProjectFeedback(site.state.project.folder, lambda tenant: ())  # as after a restart
    turn.get_by_role("button", name="Right", exact=True).click()
    alert = turn.get_by_role("alert")
    assert alert.inner_text().startswith("No answer with this id is kept")
    assert pressed(turn) == []
    page.context.set_offline(True)
    turn.get_by_role("button", name="Not right").click()
    turn.get_by_text("The server cannot be reached").wait_for()
    assert pressed(turn) == []
    assert turn.locator(".feedback-form").is_hidden()


def test_a_stopped_answer_has_no_feedback(site: Live, page: Any) -> None:
    site.engine.gate.clear()
    page.get_by_label("Your question").fill("Count")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("■ Stopped.").wait_for()
    assert page.locator(".feedback").count() == 0
    site.engine.gate.set()


def test_with_keys_it_is_the_tenants(make_site: MakeSite, open_page: OpenPage, tmp_path: Any) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    key = ring.add("web", [Scope.ASK], "acme")
    with make_site(keys=ring) as site:
        page = open_page(site)
        page.get_by_role("textbox", name="Key").fill(key)
        page.get_by_role("button", name="Use this key").click()
        turn = ask(page, "Who keeps the key?")
        turn.get_by_role("button", name="Not right").click()
        turn.get_by_text("Kept with this answer.").wait_for()
        assert kept(site) == ()
        assert [each.given_by for each in kept(site, "acme")] == ["web"]
        assert turn.get_by_role("group", name="The sources").count() == 0  # this tenant has no documents
