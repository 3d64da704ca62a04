"""What a terminal shows of an answer's verdicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lorag.pipeline.errors import EngineError
from lorag.pipeline.records import Answer, Outcome, Response, Rewrite, Verdict
from lorag.services.answer_view import show_answer

SUPPORTED = Verdict("support", "supported", 0.8, {"supported": 0.8, "unsupported": 0.2}, proven=True)
FIGURE = Verdict("intent", "figure", 0.75, {"figure": 0.75, "other": 0.25}, proven=False)
FAILED = Verdict("answerability", "", 0.0, {}, Outcome.FAILED, EngineError("out of memory"), proven=False)


def shown(capsys: pytest.CaptureFixture[str], *verdicts: Verdict) -> str:
    show_answer(Response("Why?", Rewrite("Why?", Outcome.OK), Answer("So.", False, (), Outcome.OK), verdicts))
    return " ".join(capsys.readouterr().out.split())


def test_a_label_that_is_not_proven_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, FIGURE, SUPPORTED)
    assert "support: supported 0.80" in text and "figure" not in text and "0.75" not in text
    assert "(no verdict on intent: the judge is not shown to be better there than a rule)" in text


def test_a_failed_verdict_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, FAILED)
    assert "answerability: not judged (out of memory)" in text and "no verdict" not in text


def test_what_is_not_known_is_not_shown_either(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, replace(FIGURE, proven=None))
    assert "no verdict on intent" in text and "figure" not in text and "0.75" not in text
