"""Small builders of the records that the tests of making rows share."""

from __future__ import annotations

from lorag.pipeline.contracts.question import Manner
from lorag.training.data.making.records import Accepted, Candidate, Order, Scores, Span, SpanKind
from lorag.training.data.rows import PassageRow


def passage(id_: str, text: str, title: str = "") -> PassageRow:
    return PassageRow(id_, title, text)


def span(passage_: PassageRow, text: str, kind: SpanKind = SpanKind.QUANTITY) -> Span:
    start = passage_.text.index(text)
    return Span(passage_.id, text, start, start + len(text), kind)


def candidate(span_: Span, question: str, manner: Manner = Manner.FULL, sample: int = 0) -> Candidate:
    return Candidate(Order(span_, manner, sample), 0, question)


def accepted(passage_: PassageRow, answer: str, question: str, manner: Manner = Manner.FULL, **scores: float) -> Accepted:
    return Accepted(candidate(span(passage_, answer), question, manner), Scores(**scores))  # type: ignore[arg-type]
