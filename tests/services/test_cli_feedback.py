"""`lorag feedback`: what the commands print, with nothing there, with several tenants and with a damaged file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.feedback.folder import FeedbackFolder
from lorag.pipeline.feedback.records import Opinion, Rating, Reason
from tests.pipeline.feedback.given import FERRY, KEYS, answer_id, feedback


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lorag.yaml").write_text("documents: docs\n")
    return tmp_path


def test_an_empty_list_says_where_feedback_comes_from(lorag, folder: Path) -> None:
    done = lorag("feedback", "list", "--project", folder)
    assert (done.code, done.err) == (0, "")
    assert "POST /v1/feedback" in done.out
    assert lorag("feedback", "list", "--project", folder, "-o", "json").json() == {"feedback": []}


def test_the_list_shows_what_was_asked_and_what_was_said(lorag, folder: Path) -> None:
    opinion = Opinion(Rating.DOWN, (Reason.INCORRECT,), "read \x1b[31m it", "The deputy.", "Who has the key?", (FERRY,), (KEYS,))
    stored = FeedbackFolder(folder)
    stored.put(feedback(1, opinion=opinion, rewrite="Who keeps the key of room 4?"))
    stored.put(feedback(2, opinion=Opinion(not_in_documents=True), tenant="acme"))
    done = lorag("feedback", "list", "--project", folder)
    flat = " ".join(done.out.replace("│", " ").split())
    for part in ("Who keeps the key?", "rated: down", "because: incorrect", "right answer: The deputy.", "web"):
        assert part in flat
    assert "\x1b[31m" not in done.out
    assert f"acme 1; see `lorag feedback list --tenant TENANT --project {folder}`" in done.err
    other = lorag("feedback", "list", "--project", folder, "--tenant", "acme", "-o", "json").json()["feedback"]
    assert [(each["trace"]["id"], each["opinion"]["not_in_documents"]) for each in other] == [(answer_id(2), True)]


def test_a_damaged_file_is_named_and_the_rest_is_shown(lorag, folder: Path) -> None:
    stored = FeedbackFolder(folder)
    for number in (1, 2):
        stored.put(feedback(number))
    (folder / f"feedback/_project/{answer_id(1)}.json").write_text("{")
    done = lorag("feedback", "list", "--project", folder, "-o", "json")
    assert len(done.json()["feedback"]) == 1
    assert f"{answer_id(1)}.json" in done.err


@pytest.mark.parametrize("arguments", [("--tenant", "../x"), ("--project", "nowhere")])
def test_bad_input_is_one_line(lorag, folder: Path, arguments: tuple[str, ...]) -> None:
    options = arguments if "--project" in arguments else ("--project", folder, *arguments)
    done = lorag("feedback", "list", *options)
    assert done.code == 2
    assert done.error_line
