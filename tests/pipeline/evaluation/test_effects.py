"""An effect's figures, by hand and against their sources."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.effects import corrected, effect_of, macro_f1_effect
from lorag.pipeline.evaluation.power import items_needed, simulate
from lorag.pipeline.evaluation.significance import paired_difference, sign_flip_test


def test_an_effect_holds_what_its_parts_say() -> None:
    differences, groups = [0.5, 0.0, 0.25, -0.25, 0.5, 0.5], ["a", "a", "b", "c", "d", "e"]
    effect = effect_of(differences, groups)
    interval = paired_difference([0.4] * 6, [0.4 + each for each in differences], groups=groups)
    assert (effect.value, effect.low, effect.high) == pytest.approx((interval.value, interval.low, interval.high))
    assert effect.level == 0.95
    assert (effect.n, effect.groups, effect.rose, effect.fell) == (6, 5, 4, 1)
    assert effect.p == effect.adjusted == sign_flip_test([0.4] * 6, [0.4 + each for each in differences], groups=groups)
    assert effect.least_p == 2 / 2**5
    # mean .25; residuals summed by group: 0, 0, -.5, .25, .25; each over √(1 − its share of the items)
    assert effect.error == pytest.approx(math.sqrt((0.25 + 0.0625 + 0.0625) / (5 / 6)) / 6)
    assert effect.standardised == pytest.approx(0.25 / (effect.error * math.sqrt(6)))


def test_the_power_is_of_the_test_at_its_strictest_corrected_level() -> None:
    rng = np.random.default_rng(2)
    one = effect_of(rng.normal(0.1, 0.3, size=60).tolist(), [f"d{at // 5}" for at in range(60)])
    alone, among_four = simulate(one.test.of, 0.05), simulate(one.test.of, 0.05 / 4)
    assert (one.detectable, one.power(0.1)) == (alone.detectable, alone.of(0.1))
    found = corrected({at: one for at in range(4)})[2]
    assert (found.detectable, found.power(0.1)) == (among_four.detectable, among_four.of(0.1))
    assert one.power(0.1) > found.power(0.1) and one.needed(0.1) < found.needed(0.1)
    assert found.needed(0.1) == items_needed(one.test.of, 0.05 / 4, 0.1)


def test_without_groups_the_standardised_size_is_cohens_d() -> None:
    differences = [1.0, 2.0, 3.0, 4.0]
    effect = effect_of(differences, list("abcd"))
    assert effect.standardised == pytest.approx(2.5 / math.sqrt(5 / 3))


def test_what_never_varies_cannot_be_told() -> None:
    effect = effect_of([0.0, 1e-17, 0.0], list("abc"))
    assert (effect.rose, effect.fell, effect.p, effect.shown) == (0, 0, 1.0, False)
    assert effect.standardised is effect.detectable is effect.needed() is effect.power() is None


def test_shown_is_what_the_corrected_test_and_its_interval_say() -> None:
    strong = effect_of([0.4, 0.5, 0.6, 0.5, 0.4, 0.6, 0.5, 0.4, 0.6], list("abcdefghi"))  # p = 2/512
    weak = effect_of([1.0, -1.0, 1.0, -0.5], list("abcd"))
    assert strong.p == 2 / 512 and strong.shown
    both = corrected({("F1", 1): strong, ("F1", 2): weak, "more": weak, "again": weak})
    assert list(both) == [("F1", 1), ("F1", 2), "more", "again"]
    assert both["F1", 1].adjusted == 4 * 2 / 512 and both["F1", 1].level == pytest.approx(1 - 0.05 / 4)  # the smallest of four
    assert both["F1", 1].low > 0 and both["F1", 1].shown
    many = corrected({at: strong if at == 0 else weak for at in range(13)})[0]
    assert many.adjusted == 13 * 2 / 512 > 0.05
    assert many.low <= 0 and not many.shown  # the interval is at the test's level too
    assert both["more"].adjusted == 1.0


def test_seven_groups_show_nothing() -> None:
    seven = effect_of([0.4, 0.5, 0.6, 0.5, 0.4, 0.6, 0.5], list("abcdefg"))
    assert seven.p == 2 / 128 and seven.low > 0 and not seven.shown


def test_a_label_rises_where_it_turns_right() -> None:
    effect = macro_f1_effect(list("abab"), list("aaaa"), list("abba"), list("wxyz"))
    # base: F1 of a 2·2/(2+4) = 2/3, of b 0; tuned: one of each right, both 1/2
    assert effect.value == pytest.approx(1 / 2 - 1 / 3)
    assert (effect.rose, effect.fell, effect.n) == (1, 1, 4)


def test_one_group_is_too_few() -> None:
    with pytest.raises(InputError, match="at least two independent groups"):
        effect_of([0.1, 0.2], ["a", "a"])
