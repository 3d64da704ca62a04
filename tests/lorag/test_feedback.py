"""Feedback through the front door: from a response to the project's folder, for the asking tenant alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import lorag
from lorag.feedback import ProjectFeedback
from lorag.pipeline.errors import InputError, UnknownAnswer
from lorag.pipeline.feedback.records import Opinion, Rating
from lorag.pipeline.records import Answer, Outcome, Query, Response, Rewrite, StageRecord, Trace

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
