"""The judge's figures, by hand.

The case: gold a a a b b c, given a a b b c c. Confusion a: 2 1 0, b: 0 1 1, c: 0 0 1.
"""

from __future__ import annotations

import numpy as np
import pytest

from lorag.pipeline.errors import EngineError, InputError
from lorag.pipeline.evaluation.judgments import (
    Judged,
    ReliabilityBin,
    brier_of_frequencies,
    expected_calibration_error,
    judged,
    reliability_bins,
    reliability_by_mass,
    score_judgments,
)
from lorag.pipeline.records import Outcome, Verdict

GOLD, GIVEN = "aaabbc", "aabbcc"


def plain(gold: str = GOLD, given: str = GIVEN) -> list[Judged]:
    return [Judged(str(at), truth, guess) for at, (truth, guess) in enumerate(zip(gold, given, strict=True))]


def test_labels_by_hand() -> None:
    scores = score_judgments(plain())
    assert scores.labels == ("a", "b", "c")
    assert scores.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.f1 == pytest.approx({"a": 4 / 5, "b": 2 / 4, "c": 2 / 3})
    assert scores.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert scores.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    chance = (3 * 2 + 2 * 2 + 1 * 2) / 36
    assert scores.kappa == pytest.approx((4 / 6 - chance) / (1 - chance))
    assert (scores.ece, scores.brier, scores.reliability, scores.with_probabilities) == (None, None, (), 0)


def test_a_label_that_is_only_given_has_f1_zero_and_no_recall() -> None:
    scores = score_judgments(plain("aab", "acb"))
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores.balanced_accuracy == pytest.approx((1 / 2 + 1) / 2)


def test_kappa_has_no_value_where_chance_always_agrees() -> None:
    assert score_judgments(plain("aa", "aa")).kappa is None


def test_calibration_by_hand() -> None:
    bins = reliability_bins(np.array([0.55, 0.6, 0.65, 0.95, 1.0, 0.0]), np.array([True, False, True, True, True, False]))
    assert [(each.low, each.n) for each in bins] == [(0.0, 1), (0.5, 2), (0.6, 1), (0.9, 2)]  # 0.6 belongs to (0.5, 0.6]
    # weighted gaps: |0 - 0|·1, |1/2 - 0.575|·2, |1 - 0.65|·1, |1 - 0.975|·2
    assert expected_calibration_error(bins) == pytest.approx((0 + 2 * 0.075 + 0.35 + 2 * 0.025) / 6)


def test_bins_of_equal_mass_by_hand() -> None:
    """Twelve items make ten bins: two of two, then eight of one; by confidence, not by their order."""
    confidence = np.array([0.99, 0.5, 0.98, 0.97, 0.6, 0.96, 0.95, 0.94, 0.93, 0.92, 0.91, 0.9])
    right = np.array([True, False, True, False, True, True, True, True, True, True, True, True])
    bins = reliability_by_mass(confidence, right)
    assert [each.n for each in bins] == [2, 2, *[1] * 8]
    assert bins[0] == ReliabilityBin(0.5, 0.6, 2, 0.55, 0.5)
    assert (bins[1].low, bins[1].high, bins[-1].low) == (0.9, 0.91, 0.99)
    gaps = [abs(0.5 - 0.55) * 2, abs(1 - 0.905) * 2, *(abs(1 - c) for c in (0.92, 0.93, 0.94, 0.95, 0.96, 0.98, 0.99)), 0.97]
    assert expected_calibration_error(bins) == pytest.approx(sum(gaps) / 12)
    assert [each.n for each in reliability_by_mass(confidence[:3], right[:3])] == [1, 1, 1]
    assert reliability_by_mass(np.array([]), np.array([], dtype=bool)) == ()


def test_brier_and_calibration_of_verdicts() -> None:
    items = [
        judged("1", "yes", Verdict("support", "yes", 0.8, {"yes": 0.8, "no": 0.2})),
        judged("2", "no", Verdict("support", "yes", 0.6, {"yes": 0.6, "no": 0.4})),
    ]
    scores = score_judgments(items)
    assert scores.brier == pytest.approx(((0.2**2 + 0.2**2) + (0.6**2 + 0.6**2)) / 2)
    assert scores.ece == pytest.approx((abs(1 - 0.8) + abs(0 - 0.6)) / 2)
    assert scores.ece_mass == pytest.approx(scores.ece)
    assert [(each.low, each.accuracy) for each in scores.reliability_mass] == [(0.6, 0.0), (0.8, 1.0)]
    assert (scores.groups, scores.brier_floor) == (2, 0.5)  # one label each: 1 − ¼ − ¼


def test_the_floor_of_the_brier_score_forecasts_the_frequencies() -> None:
    golds = ["a", "a", "a", "b", "c", "a"]
    frequencies = {"a": 4 / 6, "b": 1 / 6, "c": 1 / 6}
    always = [Judged(str(n), gold, "a", frequencies, group=f"d{n % 2}") for n, gold in enumerate(golds)]
    scores = score_judgments(always)
    assert scores.brier == pytest.approx(brier_of_frequencies(golds)) == pytest.approx(1 - (16 + 1 + 1) / 36)
    assert scores.brier_floor == pytest.approx(0.5) and scores.groups == 2
    assert scores.ece == pytest.approx(0), "as sure as it is right, though it knows nothing: only the Brier score tells"
    assert brier_of_frequencies(["a", "a"]) == 0
    assert score_judgments(plain("ab", "ab")).brier_floor is None


def test_a_verdict_that_failed_is_no_wrong_label() -> None:
    items = [
        judged("1", "yes", Verdict("support", "yes", 0.8, {"yes": 0.8, "no": 0.2})),
        judged("2", "no", Verdict("support", "", 0.0, {}, Outcome.FAILED, EngineError("out of memory"))),
    ]
    scores = score_judgments(items)
    assert (scores.n, scores.accuracy, scores.labels, scores.failed) == (1, 1.0, ("yes",), ("2",))


def test_unparsed_and_failed_are_listed_and_left_out() -> None:
    items = [*plain("ab", "ab"), Judged("u", "a", None, outcome=Outcome.UNPARSED), Judged("f", "b", None, outcome=Outcome.FAILED)]
    scores = score_judgments(items)
    assert (scores.n, scores.macro_f1, scores.unparsed, scores.failed) == (2, 1.0, ("u",), ("f",))
    assert scores.format_share == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([Judged("1", "a", None, outcome=Outcome.FAILED)], "none of 1 items has a label"),
        ([Judged("1", "a", None)], "label None but outcome ok"),
        ([Judged("1", "a", "a", outcome=Outcome.UNPARSED)], "label 'a' but outcome unparsed"),
        ([Judged("1", "a", "b", {"b": 1.0})], "probabilities must name gold 'a'"),
        ([Judged("1", "a", "a"), Judged("1", "a", "a")], "item '1' stands twice"),
    ],
)
def test_bad_input_is_refused(items: list[Judged], says: str) -> None:
    with pytest.raises(InputError, match=says):
        score_judgments(items)
