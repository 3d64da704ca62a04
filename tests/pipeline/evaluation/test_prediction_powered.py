"""Prediction-powered shares beside the closed form of PPI++, and their bias and coverage in a simulation."""

from __future__ import annotations

import numpy as np
import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.prediction_powered import Predicted, powered_shares

LABELS = ("full", "none")


def drawn(rng: np.random.Generator, count: int, start: int, groups: int = 0) -> list[Predicted]:
    """Items with share .6 of `full`, and a judge that says more; of `groups` groups that differ, or each alone."""
    lean = rng.normal(0, 0.15, max(groups, 1))
    items = []
    for at in range(count):
        group = at % groups if groups else 0
        full = rng.random() < 0.6 + (lean[group] if groups else 0)
        p = float(np.clip((0.95 if full else 0.3) + rng.normal(0, 0.25), 0, 1))
        items.append(Predicted({"full": p, "none": 1 - p}, f"g{group if groups else start + at}", "full" if full else "none"))
    return items


def test_independent_items_give_the_closed_form() -> None:
    """λ = cov(Y, f) / ((1 + n/N) var f), variance var(Y − λf)/n + λ² var(f)/N, each set with its own moments."""
    rng = np.random.default_rng(0)
    labelled, seen = drawn(rng, 150, 0), drawn(rng, 600, 1_000)
    found = powered_shares(seen, labelled, LABELS)
    f, g = (np.array([each.probabilities["full"] for each in items]) for items in (labelled, seen))
    y = np.array([each.label == "full" for each in labelled], dtype=float)
    n, size = len(y), len(g)
    power = (np.cov(y, f, bias=True)[0, 1] / n) / (f.var() / n + g.var() / size)
    assert found.power == pytest.approx(power)
    share = found.shares[0]
    assert share.value == pytest.approx(y.mean() + power * (g.mean() - f.mean()))
    variance = ((y - power * f).var() / n + power**2 * g.var() / size) * (n + size) / (n + size - 1)
    for end in (share.low, share.high):  # Wilson: both ends are as many errors of their own from the value
        own = variance * end * (1 - end) / (share.value * (1 - share.value))
        assert abs(end - share.value) == pytest.approx(1.9631 * own**0.5, rel=1e-3)  # t with 749 degrees of freedom
    assert (share.judge, share.labels) == (pytest.approx(g.mean()), pytest.approx(y.mean()))
    assert sum(each.value for each in found.shares) == pytest.approx(1)


def test_it_is_unbiased_narrower_than_labels_alone_and_covers() -> None:
    rng = np.random.default_rng(1)
    values, covered, widths, alone = [], 0, [], []
    for _ in range(400):
        labelled = drawn(rng, 100, 0)
        share = powered_shares(drawn(rng, 500, 1_000), labelled, LABELS).shares[0]
        values.append(share.value)
        covered += share.low <= 0.6 <= share.high
        widths.append(share.high - share.low)
        alone.append(2 * 1.984 * np.std([each.label == "full" for each in labelled], ddof=1) / 10)
    assert np.mean(values) == pytest.approx(0.6, abs=0.01)  # the judge alone says .66
    assert 0.93 <= covered / 400 <= 0.98
    assert np.mean(widths) < 0.8 * np.mean(alone)


def test_it_covers_with_groups_that_stand_in_both_sets() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        both = drawn(rng, 600, 0, groups=20)
        share = powered_shares(both[100:], both[:100], LABELS).shares[0]
        covered += share.low <= 0.6 <= share.high
    assert covered / 400 >= 0.93


def test_it_covers_a_share_near_1_that_few_labels_miss() -> None:
    """In one of five draws all labels are `full`: estimate ± t · error then has no width."""
    rng = np.random.default_rng(3)
    covered, narrow = 0, 0
    for _ in range(400):
        groups, truth = rng.integers(0, 10, 180), rng.random(180) < 0.97
        p = np.clip(np.where(truth, 0.7, 0.3) + rng.normal(0, 0.15, 180), 0, 1)
        items = [
            Predicted({"full": float(q), "none": 1 - float(q)}, f"g{group}", "full" if full else "none")
            for q, group, full in zip(p, groups, truth, strict=True)
        ]
        share = powered_shares(items[60:], items[:60], LABELS).shares[0]
        covered += share.low <= 0.97 <= share.high
        narrow += share.high - share.low < 0.02
    assert covered / 400 >= 0.93 and narrow == 0


def test_equal_labels_leave_a_width() -> None:
    """20 of 20 in as many groups: 20 / (20 + t²) with t of 19 degrees of freedom, 2.093."""
    flat = [Predicted({"full": 0.5, "none": 0.5}, f"g{at}", "full") for at in range(20)]
    first, second = powered_shares(flat, flat, LABELS).shares
    assert (first.value, first.high, second.value, second.low) == (1, 1, 0, 0)
    assert first.low == pytest.approx(1 - second.high) == pytest.approx(20 / (20 + 2.093**2), abs=1e-4)


def test_a_judge_that_says_nothing_leaves_the_labels_alone() -> None:
    flat = [Predicted({"full": 0.5, "none": 0.5}, f"g{at}", "full" if at < 3 else "none") for at in range(4)]
    found = powered_shares(flat, flat, LABELS)
    assert (found.power, found.shares[0].value) == (0, 0.75)


@pytest.mark.parametrize(
    ("seen", "labelled", "says"),
    [
        ([], ["full"], "0 judged and 1 labelled"),
        (["full"], [], "1 judged and 0 labelled"),
        (["full"], ["odd"], "human label 'odd' is none of full, none"),
    ],
)
def test_bad_input(seen: list[str], labelled: list[str], says: str) -> None:
    flat = {"full": 0.5, "none": 0.5}
    unlabelled = [Predicted(flat, "a") for _ in seen]
    with pytest.raises(InputError, match=says):
        powered_shares(unlabelled, [Predicted(flat, "b", label) for label in labelled], LABELS)
