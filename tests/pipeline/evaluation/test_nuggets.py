"""Nuggets by hand: what is vital, what is okay, and what holds them."""

from __future__ import annotations

import pytest

from lorag.pipeline.evaluation.nuggets import NuggetRecall, nugget_recall, nuggets_of

COST = ("It cost M 6,180, of which M 3,905 was fuel.",)
QUOTE = ("Cost to 7-330: M 6,180 of which fuel M 3,905.",)
DELAY = ("The standby bosun was at a wedding and his deputy came late.",)
DELAY_QUOTES = ("the standby bosun was at a wedding", "The ramp lights had failed twice before.")


def test_each_shared_quantity_is_a_vital_nugget() -> None:
    assert [(nugget.vital, nugget.quantity and nugget.quantity.low) for nugget in nuggets_of(COST, QUOTE)] == [
        (True, 6_180),
        (True, 3_905),
    ]


def test_a_quote_that_the_answer_does_not_use_is_okay() -> None:
    found = nuggets_of(DELAY, DELAY_QUOTES)
    assert [nugget.vital for nugget in found] == [True, False]
    assert found[0].words == {"standb", "bosun", "wedd"}


def test_without_a_shared_word_the_answer_itself_is_vital() -> None:
    found = nuggets_of(("Sixty days.",), ("within two months of sailing",))
    assert [(nugget.text, nugget.vital) for nugget in found] == [
        ("within two months of sailing", False),
        ("Sixty days.", True),
    ]


@pytest.mark.parametrize(
    ("text", "answers", "quotes", "vital", "weighted"),
    [
        ("M 6,180, M 3,905 of it fuel", COST, QUOTE, 1.0, 1.0),
        ("M 6,180", COST, QUOTE, 0.5, 0.5),
        ("6180 marks", COST, QUOTE, 0.5, 0.5),
        ("M 61.80", COST, QUOTE, 0.0, 0.0),
        ("The bosun was at a wedding", DELAY, DELAY_QUOTES, 1.0, 1 / 1.5),
        ("The ramp lights failed", DELAY, DELAY_QUOTES, 0.0, 0.5 / 1.5),
        ("A bosun", DELAY, DELAY_QUOTES, 0.0, 0.0),
        ("", COST, QUOTE, 0.0, 0.0),
    ],
)
def test_recall(text: str, answers: tuple[str, ...], quotes: tuple[str, ...], vital: float, weighted: float) -> None:
    assert nugget_recall(text, answers, quotes) == NuggetRecall(vital, pytest.approx(weighted))


def test_no_nuggets_no_value() -> None:
    assert nugget_recall("x", (), ("a quote",)) is None
    assert nugget_recall("x", ("the",), ()) is None
