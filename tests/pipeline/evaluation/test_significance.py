"""Intervals and tests against root finding, brute-force loops, scipy and hand-worked figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.groups import LIKENESS, UNBOUNDED, Range
from lorag.pipeline.evaluation.significance import (
    corrected_tests,
    difference_test,
    holm,
    holm_levels,
    mean_interval,
    paired_difference,
    sign_flip_test,
    standard_error,
)

GROUPS = ["a"] * 4 + ["b"] * 2 + ["c"] * 3 + ["d", "e", "f", "f"]


def score_interval(mean: float, items: float, t: float) -> tuple[float, float]:
    """The ends p of the score interval by root finding: |mean − p| = t · √(p(1 − p) / items) (Wilson 1927)."""
    from scipy import optimize

    def off(p: float) -> float:
        return (mean - p) ** 2 - t * t * p * (1 - p) / items

    low = optimize.brentq(off, 0.0, mean) if mean > 0 else 0.0
    high = optimize.brentq(off, mean, 1.0) if mean < 1 else 1.0
    return low, high


def test_a_rate_of_independent_items_is_wilsons() -> None:
    found = mean_interval([1.0] * 12 + [0.0] * 8)
    # s²/n = m(1 − m)/(n − 1), so 19 effective items
    assert (found.low, found.high) == pytest.approx(score_interval(0.6, 19, stats.t.ppf(0.975, 19)))
    assert (found.value, found.n, found.groups, found.level) == (0.6, 20, 20, 0.95)
    reference = stats.binomtest(12, 20).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.02)


def test_all_right_is_no_certainty() -> None:
    found = mean_interval([1.0] * 18)
    assert found.high == 1.0 and found.low == pytest.approx(18 / (18 + 2.109816**2), rel=1e-6)  # t of 17
    none = mean_interval([0.0] * 18)
    assert none.low == 0.0 and none.high == pytest.approx(1 - found.low)
    grouped = mean_interval([1.0] * 18, groups=[at // 6 for at in range(18)])
    items = 18 / (1 + 5 * LIKENESS)  # Kish's design effect of groups of six
    assert grouped.low == pytest.approx(items / (items + 4.302653**2), rel=1e-6)  # t of 2


def test_values_between_0_and_1_have_as_many_items_as_their_error_is_worth() -> None:
    values = np.random.default_rng(3).beta(1, 4, size=40)
    error = values.std(ddof=1) / math.sqrt(40)
    items = values.mean() * (1 - values.mean()) / error**2
    assert items > 40  # they vary less than a rate
    found = mean_interval(values.tolist(), level=0.9)
    assert (found.low, found.high) == pytest.approx(score_interval(values.mean(), items, stats.t.ppf(0.95, 39)))


def test_other_values_have_students_interval() -> None:
    values = np.random.default_rng(4).normal(30, 8, size=15)
    found = mean_interval(values.tolist(), within=UNBOUNDED)
    reference = stats.t.interval(0.95, 14, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(reference)


def test_the_range_is_the_metrics_and_not_what_a_sample_holds() -> None:
    """A score of −1 to 1 with no negative in the sample is no share: its interval reaches twice as far, mapped from 0 to 1."""
    share = mean_interval([1.0] * 18)
    signed = mean_interval([1.0] * 18, within=Range(-1, 1))
    assert (signed.value, signed.high) == (1.0, 1.0)
    assert signed.low == pytest.approx(1 - 2 * (1 - share.low)) and share.low == pytest.approx(18 / (18 + 2.109816**2), rel=1e-6)
    # 12 right, 6 silent: mapped to 1 and ½, mean 5/6, variance of the mean (1/18)·s², items ·(5/36)
    values = [1.0] * 12 + [0.0] * 6
    variance = float(np.var([1.0] * 12 + [0.5] * 6, ddof=1)) / 18
    low, high = score_interval(5 / 6, (5 / 36) / variance, 2.109816)
    found = mean_interval(values, within=Range(-1, 1))
    assert (found.low, found.high) == pytest.approx((2 * low - 1, 2 * high - 1), rel=1e-5)
    none = paired_difference([1.0] * 18, [1.0] * 18, within=Range(-1, 1))
    assert none.high == pytest.approx(2 * paired_difference([1.0] * 18, [1.0] * 18).high)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_a_rate_in_ten_groups_is_covered(rate: float) -> None:
    """Groups of six whose rates vary (beta, correlation 0.2): at least 93 of 100, but for three standard errors of 300."""
    rng, covered = np.random.default_rng(11), 0
    groups = [at // 6 for at in range(60)]
    for _ in range(300):
        rates = rng.beta(4 * rate, 4 * (1 - rate), size=10).repeat(6)
        found = mean_interval((rng.random(60) < rates).astype(float).tolist(), groups=groups)
        covered += found.low <= rate <= found.high
    assert covered / 300 > 0.93 - 3 * math.sqrt(0.93 * 0.07 / 300)


def test_differences_are_tested_by_group() -> None:
    base = [0.0] * 13
    tuned = [0.5, 0.5, 0.0, 1.0, 0.25, 0.5, -0.25, 0.5, 0.25, 1.0, 0.75, 0.5, 0.25]
    signed = Range(-1, 1)
    found = paired_difference(base, tuned, groups=GROUPS, within=signed)
    test = difference_test(base, tuned, groups=GROUPS, within=signed)
    assert (found.value, found.n, found.groups) == (pytest.approx(sum(tuned) / 13), 13, 6)
    assert test.of.sums.tolist() == [2.0, 0.75, 0.5, 1.0, 0.75, 0.75] and test.of.sizes.tolist() == [4, 2, 3, 1, 1, 2]
    assert sign_flip_test(base, tuned, groups=GROUPS, within=signed) == test.p == 2 / 2**6  # all rose
    assert found == test.interval() and found.low > 0  # by the test alone; six groups are too few for a verdict
    assert not found.is_shown


def test_no_item_that_differs_is_no_proof_that_none_would() -> None:
    found = paired_difference([0.0, 1.0] * 9, [0.0, 1.0] * 9)
    assert found.value == 0.0 and found.high == -found.low == pytest.approx(2.109816**2 / (18 + 2.109816**2), rel=1e-6)  # t of 17
    assert not found.is_shown and sign_flip_test([1.0] * 9, [1.0] * 9) == 1.0


def test_a_difference_is_no_wider_than_the_values_allow() -> None:
    assert paired_difference([0.0, 0.5, 1.0], [1.0, 1.0, 1.0]).low == -1.0
    words = paired_difference([10.0, 20.0, 15.0], [40.0, 30.0, 20.0], within=Range(0, math.inf))
    assert (words.low, words.high) == (-40.0, 40.0)


def test_holm_by_hand() -> None:
    # sorted .01 .03 .04: 3·.01 = .03, 2·.03 = .06, 1·.04 raised to .06
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    with pytest.raises(InputError, match="p of 'a' is 1.5"):
        holm({"a": 1.5})


def test_holms_levels_by_hand() -> None:
    # .001 ≤ .05/4 and .02 > .05/3: all from there on are compared at .05/3
    levels = holm_levels({"a": 0.04, "b": 0.001, "c": 0.02, "d": 0.02})
    assert levels == pytest.approx({"a": 0.05 / 3, "b": 0.05 / 4, "c": 0.05 / 3, "d": 0.05 / 3})
    assert holm_levels({"a": 0.04, "b": 0.02}) == pytest.approx({"a": 0.05, "b": 0.025})
    assert holm_levels({}) == {}


def test_intervals_at_holms_levels_say_what_the_corrected_tests_say() -> None:
    rng, seen = np.random.default_rng(6), set()
    for _ in range(40):
        tests = {
            str(at): difference_test([0.5] * 12, np.clip(rng.normal(0.55 + 0.1 * at, 0.25, size=12), 0, 1).tolist())
            for at in range(4)
        }
        for found in corrected_tests(tests).values():
            clear = found.interval.low > 0 or found.interval.high < 0
            assert clear == (found.adjusted <= 0.05 + 1e-12)
            seen.add((clear, found.p <= 0.05))
    assert seen == {(True, True), (False, True), (False, False)}  # the middle one is what the correction takes back


def test_standard_error_by_hand() -> None:
    assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3) / 2)
    assert standard_error([1.0, 2.0, 3.0, 4.0], groups=["a", "a", "b", "b"]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mean_interval([1.0]), "at least two independent groups of items, found 1"),
        (lambda: mean_interval([]), "found 0"),
        (lambda: mean_interval([1.0, 0.5], groups=["a", "a"]), "found 1"),
        (lambda: mean_interval([1.0, 0.5], groups=["a"]), "1 group keys for 2 items"),
        (lambda: mean_interval([1.0, math.nan]), "finite numbers"),
        (lambda: mean_interval([1.0, 2.0], level=95, within=UNBOUNDED), "level 95"),
        (lambda: mean_interval([1.0, 2.0]), "value 2 is out of the metric's range, 0 to 1"),
        (lambda: paired_difference([0.0, 1.0], [-0.5, 1.0]), "value -0.5 is out of the metric's range, 0 to 1"),
        (lambda: mean_interval([0.0, 1.0], level=95), "level 95"),
        (lambda: paired_difference([1.0, 1.0], [1.0, 0.0], level=0.0), "level 0.0"),
        (lambda: paired_difference([1.0], [1.0, 0.0]), "1 base values but 2 tuned"),
        (lambda: standard_error([1.0]), "found 1"),
    ],
)
def test_bad_input_is_refused(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()  # type: ignore[operator]


@pytest.mark.parametrize(("items", "size"), [(18, 1), (8, 1), (30, 3)])
def test_a_difference_that_is_alike_on_all_items_has_width(items: int, size: int) -> None:
    """From never to always: Wilson's interval of n of n by scipy's Student quantile, with the design effect of a correlation
    of .3. It stays clear of zero, as the test does."""
    groups = [at // size for at in range(items)]
    count = items // size
    squared = float(stats.t.ppf(0.975, count - 1)) ** 2
    worth = items / (1 + (size - 1) * 0.3)
    found = paired_difference([0.0] * items, [1.0] * items, groups=groups)
    assert (found.low, found.high) == (pytest.approx(worth / (worth + squared)), 1.0)
    assert found.low == pytest.approx(mean_interval([1.0] * items, groups=groups).low)
    back = paired_difference([1.0] * items, [0.0] * items, groups=groups)
    assert (back.low, back.high) == (-1.0, pytest.approx(-found.low))
    assert sign_flip_test([0.0] * items, [1.0] * items, groups=groups) < 0.05 and found.low > 0


def test_a_constant_difference_within_the_range_may_be_larger_too() -> None:
    """Of 10 items, t² / (10 + t²) may differ otherwise: by nothing, or by the whole range."""
    squared = float(stats.t.ppf(0.975, 9)) ** 2
    share = squared / (10 + squared)
    found = paired_difference([0.5] * 10, [0.75] * 10)
    assert (found.low, found.high) == (pytest.approx(0.25 * (1 - share)), pytest.approx(0.25 + 0.75 * share))


@pytest.mark.parametrize(("value", "by"), [(5.0, 5.0), (0.25, 1.0), (0.0, 1.0)])
def test_a_length_that_is_alike_on_all_items_has_width(value: float, by: float) -> None:
    """Of 12 items in 6 pairs, t² / (n + t²) may differ by the value, or by 1 if that is more; no length is below 0."""
    squared = float(stats.t.ppf(0.975, 5)) ** 2
    half = squared / (12 / 1.3 + squared) * by
    found = mean_interval([value] * 12, groups=[at // 2 for at in range(12)], within=Range(0.0, math.inf))
    assert (found.value, found.low, found.high) == (value, pytest.approx(max(0.0, value - half)), pytest.approx(value + half))


def test_a_rate_that_never_was_and_is_nearly_always_is_covered() -> None:
    """Ten items of a true .9 are all right in a third of the samples; without width they would cover .63."""
    drawn = np.random.default_rng(3).random((400, 10)) < 0.9
    found = [paired_difference([0.0] * 10, [*map(float, each)]) for each in drawn]
    assert sum(each.low <= 0.9 <= each.high for each in found) >= 0.95 * len(found)
