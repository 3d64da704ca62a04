"""Answers and opinions for the tests of feedback, made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lorag.pipeline.feedback.records import AnswerTrace, Feedback, Opinion, TraceCitation, TraceHit, feedback_on
from lorag.pipeline.records import Outcome
from lorag.pipeline.storage.digests import text_digest

KEYS, FERRY, BELL = "keys.md#11111111", "ferry.md#22222222", "bell.md#33333333"
TEXTS = {
    KEYS: "The porter keeps the key in room 4.",
    FERRY: "The ferry leaves from the north quay at 07:40.",
    BELL: "At night the bell is rung twice.",
}


def answer_id(number: int) -> str:
    return f"chatcmpl-{number:032x}"


def trace(number: int = 1, **fields: Any) -> AnswerTrace:
    """The answer `number` to "Who keeps the key?", made from the keys and the ferry."""
    made = AnswerTrace(
        id=answer_id(number),
        tenant="",
        asked_by="web",
        asked="2026-11-30T12:00:00Z",
        conversation=answer_id(number),
        question="Who keeps the key?",
        history=(),
        rewrite="Who keeps the key?",
        rewrite_outcome=Outcome.OK,
        hits=tuple(TraceHit(id_, text_digest(TEXTS[id_]), 0.5) for id_ in (KEYS, FERRY)),
        answer="The porter.",
        reply="The porter. [1]",
        refused=False,
        outcome=Outcome.OK,
        citations=(TraceCitation(1, KEYS, "The porter keeps the key in room 4."),),
        adapters={"rewriter": "base"},
    )
    return replace(made, **fields)


def feedback(number: int = 1, *, opinion: Opinion | None = None, **fields: Any) -> Feedback:
    return feedback_on(trace(number, **fields), opinion or Opinion(comment="fine"), "web")
