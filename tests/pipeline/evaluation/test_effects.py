"""An effect's figures, by hand and against their sources."""

from __future__ import annotations

import math

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.effects import corrected, effect_of, macro_f1_effect
from lorag.pipeline.evaluation.significance import mean_interval, sign_flip_test


def test_an_effect_holds_what_its_parts_say() -> None:
    differences, groups = [0.5, 0.0, 0.25, -0.25, 0.5, 0.5], ["a", "a", "b", "c", "d", "e"]
    effect = effect_of(differences, groups)
    interval = mean_interval(differences, groups=groups)
    assert (effect.value, effect.low, effect.high) == (interval.value, interval.low, interval.high)
    assert (effect.n, effect.groups, effect.rose, effect.fell) == (6, 5, 4, 1)
    assert effect.p == effect.adjusted == sign_flip_test([0.0] * 6, differences, groups=groups)
    # mean .25; residuals summed by group: 0, 0, -.5, .25, .25; sqrt(5/4 · .375) / 6
    assert effect.error == pytest.approx(math.sqrt(5 / 4 * 0.375) / 6)
    assert effect.standardised == pytest.approx(0.25 / (effect.error * math.sqrt(6)))
    assert effect.detectable == pytest.approx(2.801585 * effect.error, rel=1e-6)
    assert effect.needed(0.1) == math.ceil(6 * (2.801585 * effect.error / 0.1) ** 2)


def test_without_groups_the_standardised_size_is_cohens_d() -> None:
    differences = [1.0, 2.0, 3.0, 4.0]
    effect = effect_of(differences, list("abcd"))
    assert effect.standardised == pytest.approx(2.5 / math.sqrt(5 / 3))


def test_what_never_varies_cannot_be_told() -> None:
    effect = effect_of([0.0, 1e-17, 0.0], list("abc"))
    assert (effect.rose, effect.fell, effect.p, effect.shown) == (0, 0, 1.0, False)
    assert effect.standardised is effect.detectable is effect.needed() is None


def test_shown_takes_both_the_interval_and_the_corrected_test() -> None:
    strong = effect_of([0.4, 0.5, 0.6, 0.5, 0.4, 0.6, 0.5], list("abcdefg"))  # p = 2/128
    weak = effect_of([1.0, -1.0, 1.0, -0.5], list("abcd"))
    assert strong.p == 2 / 128 and strong.shown
    both = corrected({("F1", 1): strong, ("F1", 2): weak, "more": weak, "again": weak})
    assert list(both) == [("F1", 1), ("F1", 2), "more", "again"]
    assert both["F1", 1].adjusted == 4 * 2 / 128  # the smallest of four
    assert both["F1", 1].low > 0 and not both["F1", 1].shown
    assert both["more"].adjusted == 1.0


def test_a_label_rises_where_it_turns_right() -> None:
    effect = macro_f1_effect(list("abab"), list("aaaa"), list("abba"), list("wxyz"))
    # base: F1 of a 2·2/(2+4) = 2/3, of b 0; tuned: one of each right, both 1/2
    assert effect.value == pytest.approx(1 / 2 - 1 / 3)
    assert (effect.rose, effect.fell, effect.n) == (1, 1, 4)


def test_one_group_is_too_few() -> None:
    with pytest.raises(InputError, match="at least two independent groups"):
        effect_of([0.1, 0.2], ["a", "a"])
