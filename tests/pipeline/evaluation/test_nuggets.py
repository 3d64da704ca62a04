"""Nuggets by hand: what is vital, what is okay, what holds them, and what length costs."""

from __future__ import annotations

import pytest

from lorag.pipeline.evaluation.nuggets import NuggetScores, nuggets_of, score_nuggets

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
    ("text", "answers", "quotes", "vital", "precision"),
    [
        ("M 6,180, M 3,905 of it fuel", COST, QUOTE, 1.0, 1.0),
        ("M 6,180", COST, QUOTE, 0.5, 1.0),
        ("6180 marks", COST, QUOTE, 0.5, 1.0),
        ("M 61.80", COST, QUOTE, 0.0, 0.0),  # nothing is held, so nothing is allowed
        ("The bosun was at a wedding", DELAY, DELAY_QUOTES, 1.0, 1.0),
        ("The ramp lights failed", DELAY, DELAY_QUOTES, 0.0, 1.0),  # okay alone: it allows length and is no recall
        ("A bosun", DELAY, DELAY_QUOTES, 0.0, 0.0),
        ("", COST, QUOTE, 0.0, 1.0),
    ],
)
def test_recall_and_precision(
    text: str, answers: tuple[str, ...], quotes: tuple[str, ...], vital: float, precision: float
) -> None:
    found = score_nuggets(text, answers, quotes)
    assert found == NuggetScores(vital, pytest.approx(precision))
    assert found.f > 0 or not vital


@pytest.mark.parametrize(
    ("filler", "precision", "f"),
    [
        (0, 1.0, 1.0),  # the quote itself: 36 characters of 200
        (164, 1.0, 1.0),  # 200 of 200
        (364, 0.5, 5 / 5.5),  # 200 / 400; 10 · ½ · 1 / (9 · ½ + 1)
        (764, 0.25, 2.5 / 3.25),  # 200 / 800; 10 · ¼ · 1 / (9 · ¼ + 1)
    ],
)
def test_a_copied_passage_pays_for_its_length(filler: int, precision: float, f: float) -> None:
    """Both of two vital nuggets are held, which allow 200 characters; white space does not count."""
    found = score_nuggets(QUOTE[0] + " \n x" * filler, COST, QUOTE)
    assert found is not None
    assert (found.vital, found.precision) == (1.0, precision)
    assert found.f == pytest.approx(f)
    assert found.is_complete is (precision == 1.0)
    short = score_nuggets("M 6,180, M 3,905 of it fuel", COST, QUOTE)
    assert short is not None and short.f == 1.0
    assert (found.f < short.f) is (precision < 1.0), "the short right answer is better than the copy"


def test_half_of_the_nuggets_in_few_words() -> None:
    """Recall ½, precision 1: 10 · ½ / (9 + ½)."""
    found = score_nuggets("M 6,180", COST, QUOTE)
    assert found is not None and found.f == pytest.approx(5 / 9.5) and not found.is_complete


def test_no_nuggets_no_value() -> None:
    assert score_nuggets("x", (), ("a quote",)) is None
    assert score_nuggets("x", ("the",), ()) is None
