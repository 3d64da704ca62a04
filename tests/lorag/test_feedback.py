"""Feedback through the front door: from a response to the project's folder, for the asking tenant alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lorag
from lorag.corpus import UPLOADS_FOLDER
from lorag.feedback import ProjectFeedback
from lorag.pipeline.errors import DataError, FileError, InputError, UnknownAnswer
from lorag.pipeline.feedback.folder import FeedbackFolder
from lorag.pipeline.feedback.records import Feedback, Opinion, Rating, TraceHit, feedback_on
from lorag.pipeline.records import Answer, Outcome, Query, Response, Rewrite, Role, StageRecord, Trace
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.storage.digests import text_digest
from lorag.training.dataset import SPLITS, DataFolder
from tests.pipeline.feedback.given import answer_id, trace
from tests.stepwise import run_stepwise

DOWN = Opinion(Rating.DOWN, answer="The deputy.")


def response(question: str = "Who keeps the key?") -> Response:
    stages = (StageRecord("rewrite", "rewriter-1", 0.1, Outcome.OK), StageRecord("retrieve", "base", 0.1, Outcome.OK))
    return Response(question, Rewrite(question, Outcome.OK), Answer("The porter.", False, (), Outcome.OK), (), Trace(stages))


@pytest.fixture
def feedback(tmp_path: Path) -> ProjectFeedback:
    (tmp_path / "lorag.yaml").write_text("documents: docs\n")
    return lorag.open(tmp_path).feedback


def test_an_opinion_is_stored_with_the_answer_it_speaks_of(feedback: ProjectFeedback) -> None:
    answer = feedback.remember(Query("Who keeps the key?"), response())
    given = feedback.give(answer, DOWN)
    assert feedback.list().entries == (given,)
    assert (given.trace.question, given.trace.answer, given.opinion) == ("Who keeps the key?", "The porter.", DOWN)
    assert given.trace.adapters == {"rewrite": "rewriter-1", "retrieve": "base"}
    feedback.withdraw(answer)
    assert feedback.list().entries == ()
    with pytest.raises(UnknownAnswer):
        feedback.withdraw(answer)


def test_nothing_is_written_before_somebody_says_something(feedback: ProjectFeedback, tmp_path: Path) -> None:
    feedback.remember(Query("Who keeps the key?"), response())
    assert [path.name for path in tmp_path.iterdir()] == ["lorag.yaml"]


def test_an_answer_of_another_tenant_is_unknown(feedback: ProjectFeedback) -> None:
    answer = feedback.remember(Query("Who?"), response("Who?"), tenant="acme", asked_by="web")
    feedback.give(answer, DOWN, tenant="acme", given_by="web")
    for tenant in ("", "other"):
        for act in (lambda t=tenant: feedback.give(answer, DOWN, tenant=t), lambda t=tenant: feedback.withdraw(answer, tenant=t)):
            with pytest.raises(UnknownAnswer):
                act()
    assert feedback.counts() == {"acme": 1}
    with pytest.raises(InputError, match="no id of an answer"):
        feedback.give("../x", DOWN)


def test_feedback_can_be_changed_after_a_restart_and_new_answers_are_gone(feedback: ProjectFeedback, tmp_path: Path) -> None:
    known, lost = (feedback.remember(Query(text), response(text)) for text in ("Who?", "When?"))
    feedback.give(known, Opinion(Rating.UP))
    again = lorag.open(tmp_path).feedback
    again.give(known, DOWN)
    assert [each.opinion for each in again.list().entries] == [DOWN]
    with pytest.raises(UnknownAnswer, match="no answer with this id is kept"):
        again.give(lost, DOWN)


# --- rows ---

THINGS = ("pump", "mast", "keel", "winch", "anchor", "bell", "lamp", "rope", "chart", "crane")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[lorag.Project]:
    """A document for each thing, in the index."""
    (tmp_path / "docs").mkdir()
    for number, thing in enumerate(THINGS):
        (tmp_path / f"docs/{thing}.md").write_text(f"# {thing}\n\nThe {thing} is checked by keeper{number} every day.\n")
    (tmp_path / "lorag.yaml").write_text("documents: docs\nbase: {model: ./no-such-base}\n")
    with lorag.open(tmp_path, embedder=HashingEmbedder(64)) as opened:
        opened.ingest()
        yield opened


def corrected(project: lorag.Project, number: int, thing: str, **fields: Any) -> Feedback:
    """Somebody corrects the answer to who checks a thing, which was made of the passage on it."""
    (passage,) = [each for each in project.index.passages() if each.title == thing]
    asked = f"Who checks the {thing}?"
    made = trace(
        number,
        question=asked,
        rewrite=asked,
        answer=f"Nobody checks the {thing}.",
        hits=(TraceHit(passage.id, text_digest(passage.text), 1.0),),
        citations=(),
        **fields,
    )
    return feedback_on(
        made, Opinion(Rating.DOWN, answer=f"keeper{THINGS.index(thing)}", question=f"Who looks after the {thing}?")
    )


def store(project: lorag.Project, *entries: Feedback) -> None:
    for each in entries:
        FeedbackFolder(project.folder).put(each)


def sides(folder: Path) -> dict[str, str]:
    """Answer id → split, and that all rows of an answer are on one side."""
    found: dict[str, str] = {}
    data = DataFolder(folder, {})
    for split in SPLITS:
        for role, read in ((Role.SYNTHESIZER, data.questions), (Role.REWRITER, data.rewrites)):
            for row in read(split) if data.has(split, role) else ():
                assert found.setdefault(row.id, split) == split
        for embed in data.embed_rows(split) if data.has(split, Role.EMBEDDER) else ():
            assert found.setdefault(embed.query_id, split) == split
    for role in Role:
        if data.has("train", role):
            data.check_leaks(role)
    return found


def test_rows_are_a_data_folder_with_the_passages_of_the_index(project: lorag.Project, tmp_path: Path) -> None:
    store(project, *[corrected(project, number, thing) for number, thing in enumerate(THINGS)])
    report = project.feedback.rows(tmp_path / "rows")
    data = DataFolder(tmp_path / "rows", {})
    assert {id_: row.text for id_, row in data.passages().items()} == {each.id: each.text for each in project.index.passages()}
    found = sides(tmp_path / "rows")
    assert sorted(found) == [answer_id(number) for number in range(10)]
    counts = {split: list(found.values()).count(split) for split in SPLITS}
    assert counts == {"train": 7, "dev": 1, "test": 2}
    assert report.rows["test"] == {"synthesizer": 2, "embedder": 2, "rewriter": 2, "judge": 2}
    assert data.origin("test", Role.SYNTHESIZER) == "feedback"


def test_a_conversation_stays_on_its_side_when_more_feedback_comes(project: lorag.Project, tmp_path: Path) -> None:
    early = [corrected(project, number, thing) for number, thing in enumerate(THINGS[:6])]
    store(project, *early)
    project.feedback.rows(tmp_path / "may", test=0.4, dev=0)
    before = sides(tmp_path / "may")
    assert set(before.values()) == {"train", "test"}
    more = [corrected(project, 10 + number, thing) for number, thing in enumerate(THINGS[6:])]
    again = [  # each goes on in a conversation of May, on another thing
        corrected(project, 20 + number, THINGS[6 + number], conversation=answer_id(number)) for number in range(4)
    ]
    store(project, *more, *again)
    for seed in range(5):
        project.feedback.rows(tmp_path / f"june{seed}", test=0.4, dev=0, seed=seed)
        after = sides(tmp_path / f"june{seed}")
        for id_, split in before.items():
            assert after[id_] == split
        assert [after[answer_id(20 + number)] for number in range(4)] == [before[answer_id(number)] for number in range(4)]


def test_a_conversation_that_ties_train_to_test_goes_to_train(project: lorag.Project, tmp_path: Path) -> None:
    store(project, *[corrected(project, number, thing) for number, thing in enumerate(THINGS[:6])])
    project.feedback.rows(tmp_path / "may", test=0.4, dev=0)
    before = sides(tmp_path / "may")
    trained, tested = (next(id_ for id_, split in sorted(before.items()) if split == side) for side in ("train", "test"))
    tie = ("User: Who checks the {0}?", "Assistant: Nobody checks the {0}.")
    first, second = (THINGS[int(id_.removeprefix("chatcmpl-"), 16)] for id_ in (trained, tested))
    history = tuple(line.format(thing) for thing in (first, second) for line in tie)
    store(project, corrected(project, 30, THINGS[9], history=history))
    project.feedback.rows(tmp_path / "june", test=0.4, dev=0)
    after = sides(tmp_path / "june")
    assert {after[trained], after[tested], after[answer_id(30)]} == {"train"}


def test_rows_beside_others_are_not_tested_on_what_those_train_on(project: lorag.Project, tmp_path: Path) -> None:
    store(project, *[corrected(project, number, thing) for number, thing in enumerate(THINGS)])
    ids = {each.title: each.id for each in project.index.passages()}
    rows = tmp_path / "made"
    for split, things in (("train", THINGS[:7]), ("test", THINGS[7:9]), ("sealed", THINGS[9:])):
        (rows / split).mkdir(parents=True)
        lines = [{"query_id": thing, "query": f"{thing}?", "positive_ids": [ids[thing]]} for thing in things]
        (rows / split / "embedder.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for seed in range(3):
        project.feedback.rows(tmp_path / f"rows{seed}", beside=rows, seed=seed)
        found = sides(tmp_path / f"rows{seed}")
        assert [found[answer_id(number)] for number in range(10)] == ["train"] * 7 + ["test"] * 3


def test_too_little_feedback_is_all_for_training(project: lorag.Project, tmp_path: Path) -> None:
    store(project, corrected(project, 1, "pump"))
    report = project.feedback.rows(tmp_path / "rows")
    assert sides(tmp_path / "rows") == {answer_id(1): "train"}
    assert report.rows["test"] == {}


def test_another_tenants_feedback_makes_no_row(project: lorag.Project, tmp_path: Path) -> None:
    store(project, corrected(project, 1, "pump", tenant="acme"))
    with pytest.raises(InputError, match="no feedback of the project's own users yet; there is some of: acme"):
        project.feedback.rows(tmp_path / "rows")
    with pytest.raises(InputError, match="the tenant acme has no documents"):
        project.feedback.rows(tmp_path / "rows", tenant="acme")
    uploads = tmp_path / UPLOADS_FOLDER / "acme"
    uploads.mkdir(parents=True)
    (uploads / "notes.md").write_text("Another text.")
    report = project.feedback.rows(tmp_path / "rows", tenant="acme")
    assert (report.passages, report.rows["train"]) == (1, {"rewriter": 1})  # it has none of the project's documents


def test_what_is_in_the_way_is_said_before_any_work(project: lorag.Project, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no feedback"):
        project.feedback.rows(tmp_path / "rows")
    store(project, corrected(project, 1, "pump"))
    with pytest.raises(InputError, match="each at least 0, together below 1"):
        project.feedback.rows(tmp_path / "rows", dev=0.5, test=0.5)
    with pytest.raises(DataError, match="is no folder"):
        project.feedback.rows(tmp_path / "rows", beside=tmp_path / "nowhere")
    with pytest.raises(InputError, match="is there already"):
        project.feedback.rows(tmp_path / "docs")
    (tmp_path / "feedback/_project/splits.json").write_text("{}")
    with pytest.raises(FileError, match=r"splits\.json: key 'conversations' is missing"):
        project.feedback.rows(tmp_path / "rows")
    assert not (tmp_path / "rows").exists()


def test_killed_at_any_moment_no_row_is_there_whose_side_is_not_kept(project: lorag.Project, tmp_path: Path) -> None:
    store(project, *[corrected(project, number, thing) for number, thing in enumerate(THINGS[:4])])
    passages = list(project.index.passages())
    made: list[int] = []

    def work() -> None:
        ProjectFeedback(project.folder, lambda tenant: passages).rows(tmp_path / "rows", test=0.5, dev=0)

    def after(status: int) -> bool:
        if (tmp_path / "rows").exists():
            assert sides(tmp_path / "rows") == FeedbackFolder(tmp_path).splits("")
            shutil.rmtree(tmp_path / "rows")
            made.append(status)
        return False

    run_stepwise(work, after)
    assert made[-1] == 0


def test_rows_need_documents(tmp_path: Path) -> None:
    (tmp_path / "lorag.yaml").write_text("documents: docs\n")
    FeedbackFolder(tmp_path).put(feedback_on(trace(1), Opinion(Rating.UP)))
    with lorag.open(tmp_path) as opened, pytest.raises(InputError, match="docs: not a folder"):
        opened.feedback.rows(tmp_path / "rows")
