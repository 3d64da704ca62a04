"""The noisy channel on an engine that is scripted: Bayes by hand, and what a span is compared with."""

from __future__ import annotations

import pytest

from lorag.pipeline.engine.protocol import ChoiceRequest
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.training.data.making.channel import rivals, span_probabilities
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.writing import Writer
from tests.training.data.making.made import candidate, passage, span

POOL = passage("pool.md#1", "The pool holds 440 m³ and is 25 m long. It is emptied on 3 March.", "Town pool")
HOLDS, LONG = span(POOL, "440 m³"), span(POOL, "25 m")
LIKELY = {"440 m³": 3e-9, "25 m": 1e-9, "3 March": 0.0}


def likelihood(request: ChoiceRequest) -> list[float]:
    prompt = request.messages[-1].content
    assert not request.relative
    return [next(value for text, value in LIKELY.items() if f"Answer: {text}\n" in prompt) for _ in request.choices]


def shares(rivals: int, *spans: object) -> list[float | None]:
    writer = Writer(ScriptedEngine(scorer=likelihood))
    asked = [candidate(each, "How much does the town pool hold?") for each in spans]  # type: ignore[arg-type]
    return span_probabilities(asked, {POOL.id: POOL}, writer, MakingSettings(rivals=rivals))


def test_the_share_of_a_span_is_bayes() -> None:
    assert shares(1, HOLDS, LONG) == pytest.approx([0.75, 0.25])


def test_without_others_there_is_nothing_to_compare() -> None:
    assert shares(0, HOLDS) == [None]


def test_spans_are_compared_with_those_of_their_kind_first_and_then_the_nearest() -> None:
    assert [each.text for each in rivals(HOLDS, POOL, MakingSettings(rivals=2))] == ["25 m", "It is emptied on 3 March."]
    assert [each.text for each in rivals(LONG, POOL, MakingSettings(rivals=1))] == ["440 m³"]


def test_a_question_that_no_span_makes_likely_was_asked_about_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIKELY, "440 m³", 0.0)
    monkeypatch.setitem(LIKELY, "25 m", 0.0)
    assert shares(1, HOLDS) == [0.0]
