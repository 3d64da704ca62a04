"""Macro-F1's intervals and tests against brute-force loops, exact enumeration and the judge's own figure."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.judgments import Judged, score_judgments
from lorag.pipeline.evaluation.label_significance import (
    macro_f1_interval,
    macro_f1_swap_test,
    paired_macro_f1,
    paired_macro_f1_error,
)


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


def test_the_figures_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with sentence-transformers")
    gold, given = list("aaabbccca"), list("aabbccdca")
    assert macro_f1_interval(gold, given).value == pytest.approx(metrics.f1_score(gold, given, average="macro"))


GOLD, BASE, TUNED = list("aabbccab"), list("abbaccbb"), list("aabbacab")
GROUPS = [1, 1, 2, 2, 3, 3, 4, 5]


def swapped(groups: tuple[int, ...]) -> float:
    """The difference with the sides of some groups exchanged, by plain lists."""
    pairs = [
        (after, before) if group in groups else (before, after) for before, after, group in zip(BASE, TUNED, GROUPS, strict=True)
    ]
    return plain_macro_f1(GOLD, [after for _, after in pairs]) - plain_macro_f1(GOLD, [before for before, _ in pairs])


def test_the_swap_test_counts_every_exchange_of_sides() -> None:
    subsets = [chosen for size in range(6) for chosen in itertools.combinations(range(1, 6), size)]
    observed = abs(swapped(()))
    expected = sum(abs(swapped(chosen)) >= observed - 1e-12 for chosen in subsets) / 32
    assert 0 < expected < 1
    assert macro_f1_swap_test(GOLD, BASE, TUNED, groups=GROUPS) == pytest.approx(expected)


def test_drawn_swaps_agree_with_all_of_them_and_are_never_zero() -> None:
    rng = np.random.default_rng(6)
    gold = [str(label) for label in rng.choice(["a", "b", "c"], size=12)]
    base = [truth if rng.random() < 0.4 else "a" for truth in gold]
    tuned = [truth if rng.random() < 0.7 else "b" for truth in gold]
    exact = macro_f1_swap_test(gold, base, tuned, resamples=2**12)
    assert macro_f1_swap_test(gold, base, tuned, resamples=2**12 - 1) == pytest.approx(exact, abs=0.03)
    assert macro_f1_swap_test(["a", "b"] * 40, ["b", "a"] * 40, ["a", "b"] * 40, resamples=999) == 1 / 1000


def test_the_error_leaves_out_a_group_at_a_time() -> None:
    left_out = []
    for group in range(1, 6):
        kept = [at for at in range(8) if GROUPS[at] != group]
        gold, base, tuned = ([side[at] for at in kept] for side in (GOLD, BASE, TUNED))
        left_out.append(plain_macro_f1(gold, tuned) - plain_macro_f1(gold, base))
    mean = sum(left_out) / 5
    expected = (4 / 5 * sum((each - mean) ** 2 for each in left_out)) ** 0.5
    assert paired_macro_f1_error(GOLD, BASE, TUNED, groups=GROUPS) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("gold", "tuned", "groups", "says"),
    [
        (["a", "b"], ["a"], None, "2 gold labels but 1 predicted"),
        (["a", "b"], ["a", "b"], ["x", "x"], "at least two independent groups of items, found 1"),
        (["a", "b"], ["a", "b"], ["x"], "1 group keys for 2 items"),
    ],
)
def test_bad_input_is_refused(gold: list[str], tuned: list[str], groups: list[str] | None, says: str) -> None:
    for call in (paired_macro_f1, paired_macro_f1_error):
        with pytest.raises(InputError, match=says):
            call(gold, gold, tuned, groups=groups)
