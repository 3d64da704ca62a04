"""Answers judged by what the reader saw: refusals by the passages shown, marks out of range, prices, what counts as right."""

from __future__ import annotations

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.answers import (
    CITATION_PRECISION,
    EM,
    F1,
    NUGGET_F,
    QUOTE_PRECISION,
    RIGHT,
    RIGHT_REFUSALS,
    SQUAD_EM,
    SQUAD_F1,
    TRUTHFULNESS,
    VITAL_NUGGETS,
    WRONG_REFUSALS,
    GoldAnswer,
    gold_shown,
    score_answers,
)
from lorag.pipeline.evaluation.pricing import Prices
from lorag.pipeline.records import Answer, Citation, Outcome, Passage

REFUSED = Answer("The passages do not say.", True, (), Outcome.OK)
GOLD = GoldAnswer("q", ("2,640 kW",), passage_ids=("gold",), quotes=("each 2,640 kW at 750 rpm",))
UNANSWERABLE = GoldAnswer("q", (), answerable=False)


def passages(*ids: str) -> list[Passage]:
    return [Passage(each, each, "", "", "", "each 2,640 kW at 750 rpm", 0, 24) for each in ids]


def answer(text: str, *cited: str, reply: str = "") -> Answer:
    citations = tuple(Citation(n, name, "", "each 2,640 kW", 0, 1) for n, name in enumerate(cited, 1))
    return Answer(text, False, citations, Outcome.OK, reply)


def values(gold: GoldAnswer, given: Answer, *shown: str, prices: Prices | None = None) -> dict[str, float]:
    table = score_answers([gold], {gold.id: given}, {gold.id: passages(*shown)}, prices or Prices())
    return dict(table.items[0].values)


@pytest.mark.parametrize(
    ("gold", "given", "shown", "right", "wrong"),
    [
        (GOLD, REFUSED, "gold", None, 1),
        (GOLD, REFUSED, "other", 1, None),  # nothing to answer from
        (GOLD, REFUSED, "", 1, None),
        (GOLD, answer("9 kW"), "other", 0, None),  # it should have refused
        (GOLD, answer("2,640 kW"), "other", None, None),  # another passage held the answer
        (GOLD, answer("9 kW"), "gold", None, 0),
        (UNANSWERABLE, REFUSED, "other", 1, None),
        (UNANSWERABLE, answer("9 kW"), "other", 0, None),
        (GoldAnswer("q", ("x",)), REFUSED, "other", None, 1),  # no gold passage is known
    ],
)
def test_a_refusal_is_judged_by_the_passages_shown(
    gold: GoldAnswer, given: Answer, shown: str, right: float | None, wrong: float | None
) -> None:
    found = values(gold, given, *shown.split())
    assert (found.get(RIGHT_REFUSALS), found.get(WRONG_REFUSALS)) == (right, wrong)


def test_without_the_passages_every_gold_passage_counts_as_shown() -> None:
    assert score_answers([GOLD], {"q": REFUSED}).items[0].values[WRONG_REFUSALS] == 1
    assert gold_shown(GOLD, ["x", "gold"]) and not gold_shown(GOLD, ["x"]) and not gold_shown(UNANSWERABLE, ["x"])


@pytest.mark.parametrize(
    ("gold", "given", "score"),
    [
        (GOLD, answer("2,640 kW", "gold"), 1.0),
        (GOLD, REFUSED, 0.25),
        (GOLD, answer("2,640 litres", "gold"), -2.0),
        (UNANSWERABLE, REFUSED, 0.25),  # silence, not a right answer: always refusing gains nothing
        (UNANSWERABLE, answer("9 kW"), -2.0),
    ],
)
def test_silence_is_priced_against_error(gold: GoldAnswer, given: Answer, score: float) -> None:
    assert values(gold, given, "gold", prices=Prices(1.0, 0.25, -2.0))[TRUTHFULNESS] == score


@pytest.mark.parametrize("prices", [(0, 0, -1), (1, -1, -1), (1, 2, 3)])
def test_prices_that_reward_error_are_refused(prices: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="a right answer must be worth more than silence"):
        Prices(*prices)


def test_marks_out_of_range_cost_precision() -> None:
    """One right citation and two marks that name nothing: 1 of 3. The same mark twice counts once."""
    found = values(GOLD, answer("2,640 kW", "gold", reply="2,640 kW [1, 7][9] [7]"), "gold")
    assert found[CITATION_PRECISION] == found[QUOTE_PRECISION] == pytest.approx(1 / 3)
    assert values(GOLD, answer("2,640 kW", reply="2,640 kW [9]"), "gold")[CITATION_PRECISION] == 0


@pytest.mark.parametrize(
    ("text", "em", "f1", "squad_em", "squad_f1", "right"),
    [
        ("2,640 kW", 1, 1, 1, 1, 1),
        ("2,640 litres", 0, 0, 0, 0.5, 0),  # the official F1 gives half
        ("2.64 MW", 1, 1, 0, 0, 1),
        ("26.40 kW", 0, 0, 1, 1, 0),  # equal after the official normalisation
    ],
)
def test_quantities_beside_the_official_figures(
    text: str, em: float, f1: float, squad_em: float, squad_f1: float, right: float
) -> None:
    found = values(GOLD, answer(text, "gold"), "gold")
    assert [found[name] for name in (EM, F1, SQUAD_EM, SQUAD_F1, RIGHT)] == [em, f1, squad_em, squad_f1, right]


def test_a_sentence_is_scored_by_its_nuggets_alone() -> None:
    gold = GoldAnswer(
        "t",
        ("Yes, up to 88 per cent once a week for balancing.",),
        passage_ids=("gold",),
        quotes=("Up to 88 per cent is allowed once a week, for balancing",),
        sentence=True,
    )
    for text, held, right in (
        ("Yes, 88 % at most, once a week", 1, 1),
        ("Yes, 88 % at most", 1 / 2, 0),  # how often is a fact too
        ("up to 86 per cent once a week", 1 / 2, 0),
        ("up to 86 per cent twice a week", 0, 0),
        ("No, at most 88 %", 0, 0),
        ("yes", 0, 0),
    ):
        found = values(gold, answer(text, "gold"), "gold")
        assert (found[VITAL_NUGGETS], found[RIGHT]) == (held, right)
        assert EM not in found and F1 not in found
    assert values(gold, REFUSED, "gold")[VITAL_NUGGETS] == 0


def test_a_copied_passage_is_no_right_answer_to_a_turn() -> None:
    """One vital nugget allows 100 characters. The copy has 150: F3 10 · ⅔ / (9 · ⅔ + 1) = 20/21, and it is not right."""
    gold = GoldAnswer("t", ("88 per cent.",), passage_ids=("gold",), quotes=("Up to 88 per cent is allowed",), sentence=True)
    copied = values(gold, answer("88 per cent " + "x" * 141, "gold"), "gold")
    assert (copied[VITAL_NUGGETS], copied[RIGHT], copied[TRUTHFULNESS]) == (1, 0, -1)
    assert copied[NUGGET_F] == pytest.approx((20 / 3) / 7)
    short = values(gold, answer("88 per cent " + "x" * 91, "gold"), "gold")
    assert (short[NUGGET_F], short[RIGHT], short[TRUTHFULNESS]) == (1, 1, 1)
