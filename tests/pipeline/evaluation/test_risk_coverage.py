"""The risk–coverage curve, by hand and by all orders of tied answers."""

from __future__ import annotations

from itertools import permutations
from statistics import mean

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.risk_coverage import CurvePoint, risk_coverage


def test_by_hand() -> None:
    """In order .9 right, .8 wrong, .6 right, .1 wrong: risks 0, 1/2, 1/3, 1/2. The best order errs last: 0, 0, 1/3, 1/2."""
    found = risk_coverage("a", "p", [0.8, 0.9, 0.1, 0.6], [True, False, True, False], silent=4)
    assert found.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.excess == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4 - (1 / 3 + 1 / 2) / 4)
    assert (found.questions, found.answered, found.risk) == (8, 4, 0.5)
    assert found.points == (
        CurvePoint(0.9, 1 / 8, 0),
        CurvePoint(0.8, 2 / 8, 1 / 2),
        CurvePoint(0.6, 3 / 8, pytest.approx(1 / 3)),
        CurvePoint(0.1, 4 / 8, 1 / 2),
    )


def test_tied_answers_count_as_the_mean_of_all_their_orders() -> None:
    wrong = [True, False, False, True, True]
    orders = [mean(sum(order[:k]) / k for k in range(1, 6)) for order in permutations(wrong)]
    assert risk_coverage("a", "p", [0.5] * 5, wrong).aurc == pytest.approx(mean(orders))
    assert risk_coverage("a", "p", [0.5] * 5, wrong).aurc == pytest.approx(3 / 5)  # a constant says nothing


def test_the_best_order_has_no_excess() -> None:
    assert risk_coverage("a", "p", [0.9, 0.8, 0.2], [False, False, True]).excess == pytest.approx(0)


@pytest.mark.parametrize(("confidences", "wrong"), [([], []), ([0.5], [True, False])])
def test_bad_input(confidences: list[float], wrong: list[bool]) -> None:
    with pytest.raises(InputError, match="one confidence an answer"):
        risk_coverage("a", "p", confidences, wrong)
