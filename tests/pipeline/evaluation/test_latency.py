"""The time of an answer in words: what is counted, and what has none."""

from __future__ import annotations

import math

from lorag.pipeline.evaluation.groups import Range
from lorag.pipeline.evaluation.latency import LATENCY, with_latency
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Answer, Message, Outcome, Response, Rewrite, StageRecord, Trace

PROMPT = (Message("system", "one two three four"), Message("user", " ".join(["word"] * 36)))


def response(reply: str, prompt: tuple[Message, ...] = PROMPT) -> Response:
    stages = (
        StageRecord("rewrite", "base", 0.0, Outcome.OK, PROMPT, "not counted"),
        StageRecord("synthesize", "base", 0.0, Outcome.OK, prompt, reply),
    )
    return Response("q", Rewrite("q", Outcome.OK), Answer(reply, False, (), Outcome.OK), trace=Trace(stages))


def test_words_written_and_a_twentieth_of_those_read() -> None:
    items = tuple(
        ItemScores(id_, id_, outcome, {"F1": 0.5})
        for id_, outcome in {
            "answered": Outcome.OK,
            "gated": Outcome.OK,
            "failed": Outcome.FAILED,
        }.items()
    )
    replies = {"answered": response("at half past nine [1]"), "gated": response("", ()), "failed": response("")}
    found = with_latency(ScoreTable(items, {"words": Range(0, math.inf)}), replies)
    assert found.values(LATENCY) == {"answered": 5 + 40 / 20}
    assert found.values("F1") == dict.fromkeys(replies, 0.5)
    assert found.range_of(LATENCY) == found.range_of("words") == Range(0, math.inf) and found.range_of("F1") == Range()
