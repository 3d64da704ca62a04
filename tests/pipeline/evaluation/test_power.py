"""The simulated power, against experiments with another program's test and against the normal approximation for many groups."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest

from lorag.pipeline.evaluation.groups import Contributions
from lorag.pipeline.evaluation.power import items_needed, simulate


def of_values(values: np.ndarray) -> Contributions:
    return Contributions(values.astype(float), np.ones(len(values)), len(values))


def normal(count: int) -> np.ndarray:
    """Normal scores, with exactly mean 0 and sample variance 1."""
    values = np.array([NormalDist().inv_cdf((at + 0.5) / count) for at in range(count)])
    return (values - values.mean()) / values.std(ddof=1)


def test_the_detectable_effect_is_detected_as_often_as_it_says() -> None:
    """Experiments on fresh normal values with exactly that true effect, and a test that enumerates all signs."""
    power = simulate(of_values(normal(10)), 0.05)
    effect = power.detectable
    assert effect is not None and power.of(effect) == pytest.approx(0.8, abs=0.01)
    signs = np.array(list(itertools.product((1, -1), repeat=10)))
    rng, rejected = np.random.default_rng(8), []
    for _ in range(400):
        sample = rng.normal(effect, 1.0, size=10)
        rejected.append(np.mean(np.abs(signs @ sample) >= abs(sample.sum()) - 1e-9) <= 0.05)
    assert np.mean(rejected) == pytest.approx(0.8, abs=0.1)  # four standard errors, and some for ten values


def test_with_many_groups_it_is_the_normal_approximation() -> None:
    power = simulate(of_values(normal(150)), 0.05)
    assert power.detectable == pytest.approx((1.959964 + 0.841621) / math.sqrt(150), rel=0.1)
    strict = simulate(of_values(normal(150)), 0.05 / 4)
    assert strict.detectable == pytest.approx((2.497705 + 0.841621) / math.sqrt(150), rel=0.1)
    more = simulate(of_values(normal(150)), 0.05, 800)
    assert more.detectable == pytest.approx((1.959964 + 0.841621) / math.sqrt(800), rel=0.1)


def test_few_groups_have_less_power_than_the_normal_approximation_says() -> None:
    power = simulate(of_values(normal(8)), 0.05 / 4)
    assert power.of((2.497705 + 0.841621) / math.sqrt(8)) < 0.6


def test_what_the_smallest_p_forbids_has_no_power() -> None:
    power = simulate(of_values(normal(8)), 0.05 / 46)  # the smallest p is 2/2⁸
    assert power.detectable is None and power.of(100.0) == 0.0


def test_the_items_needed_fall_with_the_square_of_the_effect() -> None:
    of = of_values(normal(40))
    few, many = items_needed(of, 0.05, 0.4), items_needed(of, 0.05, 0.2)
    assert few == pytest.approx(((1.959964 + 0.841621) / 0.4) ** 2, rel=0.15)
    assert many == pytest.approx(((1.959964 + 0.841621) / 0.2) ** 2, rel=0.15)
    assert items_needed(of, 0.05, 50.0) == 8  # the groups that decide at all
    twice = Contributions(of.sums * 3, of.sizes * 3, 120)
    assert items_needed(twice, 0.05, 0.4) == pytest.approx(3 * (few or 0), abs=3)
