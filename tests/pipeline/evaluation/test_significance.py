"""Intervals and tests against brute-force loops, exact enumeration, scipy and hand-worked figures."""

from __future__ import annotations

import itertools
import math
import time
from statistics import stdev

import numpy as np
import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.significance import (
    detectable,
    holm,
    items_needed,
    mean_interval,
    paired_difference,
    sign_flip_test,
    standard_error,
)

SKEWED = np.random.default_rng(3).exponential(size=40).tolist()


def test_a_bootstrap_small_enough_to_enumerate() -> None:
    values = [0.0, 1.0, 5.0]
    means = [sum(draw) / 3 for draw in itertools.product(values, repeat=3)]
    found = mean_interval(values, level=0.8, method="percentile", resamples=200_000)
    low, high = np.quantile(means, [0.1, 0.9])
    assert (found.value, found.low, found.high) == pytest.approx((2.0, low, high))
    assert (found.n, found.groups) == (3, 3)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_interval_agrees_with_scipy(method: str) -> None:
    from scipy import stats

    reference = stats.bootstrap(
        (SKEWED,), np.mean, n_resamples=40_000, method="BCa" if method == "bca" else method, rng=np.random.default_rng(0)
    ).confidence_interval
    found = mean_interval(SKEWED, resamples=40_000, method=method)  # type: ignore[arg-type]
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.01)


def test_bca_moves_the_interval_of_a_skewed_sample_and_leaves_a_symmetric_one() -> None:
    skewed = {method: mean_interval(SKEWED, method=method) for method in ("bca", "percentile")}  # type: ignore[arg-type]
    assert skewed["bca"].low > skewed["percentile"].low and skewed["bca"].high > skewed["percentile"].high
    even = [-2.0, -1.0, 0.0, 1.0, 2.0] * 8
    both = [mean_interval(even, method=method) for method in ("bca", "percentile")]  # type: ignore[arg-type]
    assert (both[0].low, both[0].high) == pytest.approx((both[1].low, both[1].high), abs=0.02)


def test_groups_are_drawn_whole_as_in_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    groups = [f"doc{at}" for at in rng.integers(0, 12, size=60)]
    shift = {name: rng.normal() for name in sorted(set(groups))}
    base = rng.normal(size=60).tolist()
    tuned = [value + 0.3 + shift[group] for value, group in zip(base, groups, strict=True)]
    members: dict[str, list[float]] = {}
    for group, before, after in zip(groups, base, tuned, strict=True):
        members.setdefault(group, []).append(after - before)
    names, draws = list(members), []
    for _ in range(8_000):
        drawn = [value for at in rng.integers(0, len(names), size=len(names)) for value in members[names[at]]]
        draws.append(sum(drawn) / len(drawn))
    found = paired_difference(base, tuned, groups=groups, resamples=20_000, method="percentile")
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.03)
    alone = paired_difference(base, tuned, resamples=20_000, method="percentile")
    assert found.high - found.low > 1.5 * (alone.high - alone.low)  # ignoring the groups would claim too much
    assert (found.value, found.groups, alone.groups) == (pytest.approx(alone.value), len(names), 60)


def test_the_same_seed_gives_the_same_digits_and_equal_values_give_no_width() -> None:
    assert mean_interval(SKEWED, seed=4) == mean_interval(SKEWED, seed=4) != mean_interval(SKEWED, seed=5)
    flat = mean_interval([1.0] * 9)
    assert (flat.value, flat.low, flat.high) == (1.0, 1.0, 1.0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    covered = [
        found.low <= 0 <= found.high
        for _ in range(200)
        if (found := mean_interval(rng.normal(size=50).tolist(), resamples=1_000))
    ]
    assert 0.88 <= np.mean(covered) <= 0.99  # 95 % nominal, ±3 standard errors, a little below for n = 50


def test_ten_thousand_resamples_of_300_items_take_less_than_a_second() -> None:
    values = np.random.default_rng(0).normal(size=300).tolist()
    start = time.process_time()
    mean_interval(values)
    assert time.process_time() - start < 1.0


def test_the_sign_flip_test_enumerates_small_cases() -> None:
    # differences 1, 2, 3: of 8 sign patterns only +++ and --- reach |6|
    assert sign_flip_test([0, 0, 0], [1, 2, 3]) == 2 / 8
    # differences 1, -1, 3: |sum| >= 3 for  +++ (5), +-+ (3), -++ (3) and their mirrors
    assert sign_flip_test([0, 1, 0], [1, 0, 3]) == 6 / 8
    assert sign_flip_test([1, 1, 1], [1, 1, 1]) == 1.0
    # two groups: sums 3 and 3, of 4 patterns two are as extreme
    assert sign_flip_test([0, 0, 0], [1, 2, 3], groups=["a", "a", "b"]) == 2 / 4


def test_the_drawn_sign_flips_agree_with_all_of_them() -> None:
    rng = np.random.default_rng(2)
    tuned = rng.normal(0.4, 1.0, size=14).tolist()
    base = [0.0] * 14
    exact = sign_flip_test(base, tuned, resamples=2**14)
    assert sign_flip_test(base, tuned, resamples=2**14 - 1) == pytest.approx(exact, abs=0.015)
    assert sign_flip_test([0.0] * 100, [1.0] * 100, resamples=999) == 1 / 1000  # never 0


def test_holm_by_hand() -> None:
    # sorted .01 .03 .04: 3·.01 = .03, 2·.03 = .06, 1·.04 raised to .06
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    with pytest.raises(InputError, match="p of 'a' is 1.5"):
        holm({"a": 1.5})


def test_standard_error_by_hand() -> None:
    assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3) / 2)
    # residuals -1.5 -.5 .5 1.5 in groups of two: sums -2 and 2; sqrt(2/1 · 8) / 4
    assert standard_error([1.0, 2.0, 3.0, 4.0], groups=["a", "a", "b", "b"]) == pytest.approx(1.0)


def test_what_would_be_needed_to_see_an_effect() -> None:
    error = standard_error([1.0, -1.0] * 50)  # sqrt(100/99) / 10
    smallest = detectable(error)
    assert smallest == pytest.approx((1.959964 + 0.841621) * math.sqrt(100 / 99) / 10, rel=1e-6)
    assert detectable(error, level=0.9, power=0.5) == pytest.approx(1.644854 * error, rel=1e-6)
    assert items_needed(error, 100, smallest) == 100
    assert items_needed(error, 100, smallest / 2) == 400
    with pytest.raises(InputError, match="effect 0"):
        items_needed(error, 100, 0)


def test_the_standard_error_agrees_with_statistics_and_with_resampling() -> None:
    values = np.random.default_rng(1).normal(size=80).tolist()
    assert standard_error(values) == pytest.approx(stdev(values) / math.sqrt(80))
    groups = [f"g{at // 4}" for at in range(80)]
    drawn = np.random.default_rng(2).integers(0, 20, size=(20_000, 20))
    means = np.array(values).reshape(20, 4).mean(axis=1)[drawn].mean(axis=1)
    # the bootstrap divides by G, not by G − 1
    assert standard_error(values, groups=groups) == pytest.approx(means.std() * math.sqrt(20 / 19), rel=0.03)


def test_the_detectable_effect_is_detected_as_often_as_it_says() -> None:
    """Of 2,000 experiments with exactly that true effect about 80 % must end with a two-sided z test at 5 %."""
    rng, items = np.random.default_rng(7), 100
    effect = detectable(1 / math.sqrt(items))  # items of variance 1
    samples = rng.normal(effect, 1.0, size=(2_000, items))
    z = samples.mean(axis=1) * math.sqrt(items)
    assert np.mean(np.abs(z) > 1.959964) == pytest.approx(0.8, abs=0.027)  # three standard errors
    assert items_needed(1 / math.sqrt(items), items, effect) == items
    assert items_needed(0.1, 100, -0.05) == math.ceil(100 * (2.801585 * 0.1 / 0.05) ** 2)


def test_the_sign_flip_test_agrees_with_scipy() -> None:
    from scipy import stats

    tuned = np.random.default_rng(4).normal(0.5, 1.0, size=11)
    reference = stats.permutation_test(
        (tuned, np.zeros(11)), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True
    )
    assert sign_flip_test([0.0] * 11, tuned.tolist()) == pytest.approx(reference.pvalue)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mean_interval([1.0]), "at least two independent groups of items, found 1"),
        (lambda: mean_interval([]), "found 0"),
        (lambda: mean_interval([1.0, 2.0], groups=["a", "a"]), "found 1"),
        (lambda: mean_interval([1.0, 2.0], groups=["a"]), "1 group keys for 2 items"),
        (lambda: mean_interval([1.0, math.nan]), "finite numbers"),
        (lambda: mean_interval([1.0, 2.0], level=95), "level 95"),
        (lambda: mean_interval([1.0, 2.0], resamples=0), "0 resamples"),
        (lambda: paired_difference([1.0], [1.0, 2.0]), "1 base values but 2 tuned"),
        (lambda: standard_error([1.0]), "found 1"),
        (lambda: detectable(0.1, power=1.0), "power 1.0"),
    ],
)
def test_bad_input_is_refused(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()  # type: ignore[operator]
