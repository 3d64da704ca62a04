"""Intervals and tests against brute-force loops, exact enumeration, scipy and hand-worked figures."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluation.judgments import Judged, score_judgments
from pipeline.evaluation.significance import (
    holm,
    macro_f1_interval,
    mean_interval,
    minimum_detectable_effect,
    paired_difference,
    paired_macro_f1,
    questions_needed,
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


def plain_macro_f1(gold: list[str], given: list[str]) -> float:
    found = []
    for label in sorted({*gold, *given}):
        hits = sum(truth == guess == label for truth, guess in zip(gold, given, strict=True))
        found.append(2 * hits / (gold.count(label) + given.count(label)))
    return sum(found) / len(found)


def test_macro_f1_is_computed_on_the_resampled_items() -> None:
    rng = np.random.default_rng(8)
    gold = [str(label) for label in rng.choice(["a", "b", "c"], size=60, p=[0.6, 0.3, 0.1])]
    base = [truth if rng.random() < 0.5 else "a" for truth in gold]
    tuned = [truth if rng.random() < 0.8 else "b" for truth in gold]
    differences, plains = [], []
    for _ in range(6_000):
        at = rng.integers(0, 60, size=60)
        drawn = [[side[i] for i in at] for side in (gold, base, tuned)]
        plains.append(plain_macro_f1(drawn[0], drawn[2]))
        differences.append(plains[-1] - plain_macro_f1(drawn[0], drawn[1]))
    one = macro_f1_interval(gold, tuned, resamples=20_000, method="percentile")
    both = paired_macro_f1(gold, base, tuned, resamples=20_000, method="percentile")
    assert one.value == pytest.approx(plain_macro_f1(gold, tuned))
    assert both.value == pytest.approx(plain_macro_f1(gold, tuned) - plain_macro_f1(gold, base))
    assert (one.low, one.high) == pytest.approx(tuple(np.quantile(plains, [0.025, 0.975])), abs=0.015)
    assert (both.low, both.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=0.015)


def test_macro_f1_is_the_judges_own_figure() -> None:
    gold, given = list("aaabbc"), list("aabbcc")
    items = [Judged(str(at), truth, guess) for at, (truth, guess) in enumerate(zip(gold, given, strict=True))]
    assert macro_f1_interval(gold, given).value == pytest.approx(score_judgments(items).macro_f1)


def test_standard_error_by_hand() -> None:
    assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3) / 2)
    # residuals -1.5 -.5 .5 1.5 in groups of two: sums -2 and 2; sqrt(2/1 · 8) / 4
    assert standard_error([1.0, 2.0, 3.0, 4.0], groups=["a", "a", "b", "b"]) == pytest.approx(1.0)


def test_what_would_be_needed_to_see_an_effect() -> None:
    differences = [1.0, -1.0] * 50  # standard error sqrt(100/99) / 10
    smallest = minimum_detectable_effect(differences)
    assert smallest == pytest.approx((1.959964 + 0.841621) * math.sqrt(100 / 99) / 10, rel=1e-6)
    assert questions_needed(differences, smallest) == 100
    assert questions_needed(differences, smallest / 2) == 400
    with pytest.raises(InputError, match="effect 0"):
        questions_needed(differences, 0)


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
        (lambda: paired_macro_f1(["a", "b"], ["a", "b"], ["a"]), "2 gold labels but 1 predicted"),
        (lambda: standard_error([1.0]), "found 1"),
        (lambda: minimum_detectable_effect([1.0, 2.0], power=1.0), "power 1.0"),
    ],
)
def test_bad_input_is_refused(call: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()  # type: ignore[operator]
