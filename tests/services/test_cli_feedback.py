"""`lorag feedback`: what the commands print, with nothing there, with several tenants and with a damaged file."""

from __future__ import annotations

import json
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


# --- export and rows ---


@pytest.mark.parametrize(("form", "lines"), [("lorag", 1), ("langfuse", 2), ("openwebui", 1)])
def test_export_writes_a_file_for_each_tool(lorag, folder: Path, form: str, lines: int) -> None:
    FeedbackFolder(folder).put(feedback(1, opinion=Opinion(Rating.UP)))
    FeedbackFolder(folder).put(feedback(2, tenant="acme"))
    done = lorag("feedback", "export", "--project", folder, "--out", folder / "out.jsonl", "--format", form)
    assert (done.code, done.out) == (0, f"{folder / 'out.jsonl'}: feedback on 1 answer.\n")
    assert "acme 1" in done.err
    assert len((folder / "out.jsonl").read_text().splitlines()) == lines


@pytest.mark.parametrize("command", ["export", "rows"])
def test_without_feedback_there_is_nothing_to_write(lorag, folder: Path, command: str) -> None:
    done = lorag("feedback", command, "--project", folder, "--out", folder / "out")
    assert done.code == 2
    assert "there is no feedback of the project's own users yet" in done.error_line
    assert not (folder / "out").exists()


def test_rows_say_what_was_made_and_what_was_not(lorag, project) -> None:
    assert lorag("ingest", "--project", project.folder).code == 0
    stored = FeedbackFolder(project.folder)
    stored.put(feedback(1, opinion=Opinion(Rating.DOWN, question="Who holds the key?")))
    stored.put(feedback(2, opinion=Opinion(Rating.UP)))
    out = project.folder / "rows"
    done = lorag("feedback", "rows", "--project", project.folder, "--out", out)
    assert done.code == 0, done.err
    assert "left out: 1, a rating or a comment alone makes no row" in done.out
    assert "Nothing was held out for test" in done.err
    (row,) = (json.loads(line) for line in (out / "train/rewriter.jsonl").read_text().splitlines())
    assert (row["rewrite"], row["origin"]) == ("Who holds the key?", "feedback")
    again = lorag("feedback", "rows", "--project", project.folder, "--out", out)
    assert "is there already" in again.error_line
    report = lorag("feedback", "rows", "--project", project.folder, "--out", project.folder / "more", "-o", "json").json()
    assert report["rows"]["train"] == {"rewriter": 1}
