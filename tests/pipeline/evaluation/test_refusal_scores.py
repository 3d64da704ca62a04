"""Refusals as a detector, by hand."""

from __future__ import annotations

import pytest

from lorag.pipeline.evaluation.answers import GoldAnswer, score_answers
from lorag.pipeline.evaluation.refusal_scores import RefusalRow, refusal_scores
from lorag.pipeline.records import Answer, Hit, Outcome, Passage, Response, Rewrite, Trace


def response(text: str, shown: str) -> Response:
    refused = not text
    hits = tuple(Hit(Passage(name, name, "", "", "", "x", 0, 1), 1.0) for name in shown.split())
    answer = Answer(text, refused, (), Outcome.FAILED if text == "failed" else Outcome.OK)
    return Response("q", Rewrite("q", Outcome.OK), answer, trace=Trace(hits=hits))


# id: (gold passage or none, passages shown, answer)
CASES = {
    "shown, right": ("g", "g", "blue"),
    "shown, refused": ("g", "g x", ""),
    "missed, refused": ("g", "x", ""),
    "missed, wrong": ("g", "x", "red"),
    "missed, right": ("g", "x", "blue"),
    "none, refused": ("", "x", ""),
    "none, answered": ("", "x", "red"),
    "failed": ("g", "g", "failed"),
}


def scores(names: list[str]) -> tuple[tuple[RefusalRow, ...], float | None, float | None, float | None]:
    golds = [
        GoldAnswer(name, ("blue",) if CASES[name][0] else (), bool(CASES[name][0]), tuple(CASES[name][0].split()))
        for name in names
    ]
    responses = {name: response(CASES[name][2], CASES[name][1]) for name in names}
    shown = {name: [hit.passage for hit in each.trace.hits] for name, each in responses.items()}
    table = score_answers(golds, {name: each.answer for name, each in responses.items()}, shown)
    found = refusal_scores("a", golds, responses, table)
    return found.rows, found.precision, found.recall, found.f1


def test_by_what_was_shown() -> None:
    """Refused: 3, of which 2 rightly. To be refused: 2 missed (the third was answered rightly) and 2 without an answer."""
    rows, precision, recall, f1 = scores(list(CASES))
    assert rows == (
        RefusalRow("gold shown", 2, 1, 1),
        RefusalRow("gold not shown", 3, 1, 1),
        RefusalRow("no document answers", 2, 1, 0),
    )
    assert (precision, recall) == (pytest.approx(2 / 3), pytest.approx(2 / 4))
    assert f1 == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))


def test_without_refusals_there_is_no_precision() -> None:
    _, precision, recall, f1 = scores(["shown, right", "none, answered"])
    assert (precision, recall, f1) == (None, 0, 0)
    assert scores(["shown, right"])[1:] == (None, None, None)
