"""Traces of answers as they are kept, and opinions: what is taken and what is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.feedback.records import ID, MAX_HISTORY, Opinion, Rating, Reason, feedback_on, new_trace_id, trace_of
from lorag.pipeline.records import (
    Answer,
    Citation,
    Hit,
    Outcome,
    Passage,
    Query,
    Response,
    Rewrite,
    Speaker,
    Trace,
    Turn,
)
from tests.pipeline.feedback.given import FERRY, KEYS, trace

TEXT = "The porter keeps the key."


def test_a_trace_says_how_the_answer_came_about() -> None:
    passage = Passage("keys.md#1", "keys.md", "docs/keys.md", "Keys", "", TEXT, 0, len(TEXT))
    citation = Citation(1, passage.id, passage.source, TEXT, 0, len(TEXT))
    answer = Answer("The porter.", False, (citation,), Outcome.OK, reply=" The porter. [1]\n")
    response = Response("And at night?", Rewrite("Who keeps it?", Outcome.OK), answer, (), Trace(hits=(Hit(passage, 1),)))
    history = tuple(Turn(Speaker.USER, f"turn {number}") for number in range(MAX_HISTORY + 3))
    kept = trace_of(Query("And at night?", history), response, {"rewriter": "v1"}, id="ask-" + "0" * 32, tenant="acme")
    assert (kept.question, kept.rewrite, kept.answer, kept.reply) == (
        "And at night?",
        "Who keeps it?",
        "The porter.",
        "The porter. [1]",
    )
    assert (kept.history[0], len(kept.history)) == ("User: turn 3", MAX_HISTORY)
    assert [(hit.passage_id, hit.score) for hit in kept.hits] == [("keys.md#1", 1.0)]
    assert [(each.number, each.quote) for each in kept.citations] == [(1, TEXT)]
    assert (kept.tenant, kept.conversation, dict(kept.adapters)) == ("acme", kept.id, {"rewriter": "v1"})


def test_ids_cannot_be_guessed_and_are_safe_file_names() -> None:
    ids = {new_trace_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(ID.fullmatch(each) for each in ids)


def test_texts_are_trimmed_and_repeats_are_dropped() -> None:
    opinion = Opinion(
        Rating.DOWN, (Reason.OTHER, Reason.OTHER), " so ", " The deputy. ", wrong_passages=(FERRY, FERRY), right_passages=(KEYS,)
    )
    kept = feedback_on(trace(), opinion, "web")
    assert kept.opinion == Opinion(
        Rating.DOWN, (Reason.OTHER,), "so", "The deputy.", wrong_passages=(FERRY,), right_passages=(KEYS,)
    )
    assert (kept.given_by, kept.trace) == ("web", trace())


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "says nothing"),
        ({"comment": " \n"}, "says nothing"),
        ({"answer": "x" * 8001}, "8001 characters"),
        ({"question": "x" * 2001}, "2001 characters"),
        ({"comment": "x" * 4001}, "4001 characters"),
        ({"answer": "a\0b"}, "U+0000"),
        ({"comment": "a\ud800"}, "U+D800"),
        ({"answer": "The deputy.", "not_in_documents": True}, "exclude each other"),
        ({"right_passages": (KEYS,), "not_in_documents": True}, "exclude each other"),
        ({"rating": Rating.UP, "answer": "The deputy."}, "thumb up"),
        ({"rating": Rating.UP, "not_in_documents": True}, "thumb up"),
        ({"rating": Rating.UP, "reasons": (Reason.UNCLEAR,)}, "thumb up"),
        ({"wrong_passages": (KEYS,), "right_passages": (KEYS,)}, "as wrong and as right"),
        ({"wrong_passages": ("secret.md#1",)}, "none of those"),
        ({"rating": "sideways"}, "'sideways' is no rating of feedback; there are: up, down"),
        ({"reasons": ("sideways",)}, "'sideways' is no reason"),
    ],
)
def test_what_says_nothing_or_contradicts_itself_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as refused:
        feedback_on(trace(), Opinion(**fields))
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_thumb_up_may_name_a_wrong_source_and_a_better_question() -> None:
    opinion = Opinion(Rating.UP, question="Who has the key?", wrong_passages=(FERRY,))
    assert feedback_on(trace(), opinion).opinion == opinion
