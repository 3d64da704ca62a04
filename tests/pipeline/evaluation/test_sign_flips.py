"""The sign-flip test and its interval, against enumeration in plain loops and scipy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from lorag.pipeline.adapters.looks import MOST_FLIPS as FLIPS
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.groups import Contributions
from lorag.pipeline.evaluation.sign_flips import SignFlips, flips


def test_of(sums: Sequence[float], sizes: Sequence[int], widest: float = 1e9) -> SignFlips:
    return SignFlips(Contributions(np.array(sums, dtype=float), np.array(sizes, dtype=float), sum(sizes)), widest=widest)


test_of.__test__ = False  # type: ignore[attr-defined]


def plain_p(sums: Sequence[float], sizes: Sequence[int], difference: float) -> float:
    """The share of all signs under which the sum is at least as large as the observed one, if `difference` is the true one."""
    residuals = [total - difference * size for total, size in zip(sums, sizes, strict=True)]
    observed = abs(sum(residuals))
    signs = list(itertools.product((1, -1), repeat=len(sums)))
    return sum(abs(sum(s * r for s, r in zip(each, residuals, strict=True))) >= observed - 1e-9 for each in signs) / len(signs)


def test_small_cases_by_hand() -> None:
    # differences 1, 2, 3: of 8 sign patterns only +++ and --- reach |6|
    assert test_of([1, 2, 3], [1, 1, 1]).p == 2 / 8
    # differences 1, -1, 3: |sum| >= 3 for  +++ (5), +-+ (3), -++ (3) and their mirrors
    assert test_of([1, -1, 3], [1, 1, 1]).p == 6 / 8
    assert test_of([0, 0, 0], [1, 1, 1]).p == 1.0
    assert test_of([3, 3], [2, 1]).p == 2 / 4


SUMS = [2.0, 0.5, -0.75, 1.25, 3.0, 0.25, -0.5, 1.0, 0.0]
SIZES = [4, 1, 3, 2, 7, 1, 2, 2, 5]


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("sums", "sizes"), [(SUMS, SIZES), (SUMS, [2] * 9), ([-each for each in SUMS], SIZES)])
def test_the_interval_holds_what_the_test_does_not_reject(level: float, sums: list[float], sizes: list[int]) -> None:
    found = test_of(sums, sizes).interval(level)
    assert found.value == pytest.approx(sum(sums) / sum(sizes))
    for end, outward in ((found.low, -1), (found.high, 1)):
        assert plain_p(sums, sizes, end - outward * 1e-6) > 1 - level + 1e-9
        assert plain_p(sums, sizes, end + outward * 1e-6) <= 1 - level + 1e-9
    inside = np.linspace(found.low + 1e-6, found.high - 1e-6, 40)
    assert min(plain_p(sums, sizes, float(each)) for each in inside) > 1 - level


def test_the_interval_excludes_zero_exactly_if_the_test_rejects() -> None:
    rng, seen = np.random.default_rng(1), set()
    for count in (6, 8, 11, 16, 40):
        for _ in range(30):
            sizes = rng.integers(1, 9, size=count)
            sums = np.round(rng.normal(0.35, 1, size=count) * sizes)
            test = test_of(sums.tolist(), sizes.tolist())
            for alpha in (0.05, 0.05 / 3, 0.05 / 46, 0.2, test.p, test.p - 1e-6):
                if alpha == 1:
                    continue
                found = test.interval(1 - alpha)
                assert (found.low > 0 or found.high < 0) == (test.p <= alpha + 1e-12)
                seen.add(test.p <= alpha)
    assert seen == {True, False}


def test_the_test_agrees_with_scipy() -> None:
    from scipy import stats

    values = np.random.default_rng(4).normal(0.5, 1.0, size=11)
    reference = stats.permutation_test(
        (values, np.zeros(11)), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True
    )
    assert test_of(values.tolist(), [1] * 11).p == pytest.approx(reference.pvalue)


def test_drawn_flips_agree_with_all_of_them_and_p_is_never_zero() -> None:
    values = np.random.default_rng(2).normal(0.4, 1.0, size=15).tolist()
    drawn = test_of(values, [1] * 15)
    signs = np.array(list(itertools.product((1, -1), repeat=15)))
    exact = np.mean(np.abs(signs @ values) >= abs(sum(values)) - 1e-9)
    assert drawn.p == pytest.approx(exact, abs=4 * np.sqrt(exact / FLIPS))
    assert test_of([1.0] * 100, [1] * 100).p == test_of([1.0] * 100, [1] * 100).least_p == 1 / FLIPS


@pytest.mark.parametrize(("groups", "smallest"), [(5, 2 / 2**5), (8, 2 / 2**8), (14, 2 / 2**14), (15, 1e-4)])
def test_the_smallest_p_is_what_that_many_groups_can_give(groups: int, smallest: float) -> None:
    test = test_of([1.0] * groups, [1] * groups)
    assert test.p == test.least_p == smallest


def test_what_too_few_groups_cannot_bound_is_as_wide_as_a_difference_can_be() -> None:
    found = test_of([1.0, 0.5, 0.75, 1.0, 0.5], [1] * 5, widest=1.0).interval(0.95)  # the smallest p is 1/16
    assert (found.value, found.low, found.high, found.groups) == (0.75, -1.0, 1.0, 5)
    assert test_of([1.0, 0.5, 0.75, 1.0, 0.5], [1] * 5, widest=1.0).interval(0.9).low > 0


def test_flips_are_the_observed_signs_and_one_of_each_pair() -> None:
    signs = flips(4, 8)
    assert signs.shape == (8, 4) and set(signs[:, 0].tolist()) == {1} and len({tuple(row) for row in signs.tolist()}) == 8
    assert flips(4, 7).shape == (7, 4) and flips(4, 7)[0].tolist() == [1, 1, 1, 1]
    assert abs(float(flips(50, 4_000).mean())) < 0.01


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="level 95"):
        test_of([1.0, 2.0], [1, 1]).interval(95)
