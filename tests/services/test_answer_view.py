"""What a terminal shows of an answer's verdicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lorag.pipeline.errors import EngineError
from lorag.pipeline.records import Answer, Citation, Hit, Outcome, PageStart, Passage, Response, Rewrite, Trace, Verdict
from lorag.services.answer_view import show_answer, show_trace

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


@pytest.mark.parametrize(
    ("page", "pages", "cited", "found"),
    [
        (4, (PageStart(3, 0), PageStart(4, 2)), "m.pdf:5–9, page 4", "m.pdf:5–9, pages 3–4"),
        (3, (PageStart(3, 0),), "m.pdf:5–9, page 3", "m.pdf:5–9, page 3"),
        (None, (), "m.pdf:5–9", "m.pdf:5–9"),
    ],
)
def test_a_citation_names_its_page(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    page: int | None,
    pages: tuple[PageStart, ...],
    cited: str,
    found: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    passage = Passage("m#1", "m", "m.pdf", "M", "", "Text", 5, 9, pages=pages)
    answer = Answer("So.", False, (Citation(1, "m#1", "m.pdf", "Text", 5, 9, page),), Outcome.OK)
    response = Response("Why?", Rewrite("Why?", Outcome.OK), answer, trace=Trace(hits=(Hit(passage, 0.5),)))
    show_answer(response)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert cited in lines
    show_trace(response)
    assert found in capsys.readouterr().out.replace("│", "\n").replace("  ", "\n")
