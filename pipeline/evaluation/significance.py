"""Statistics of figures and paired differences: intervals, the sign-flip test, Holm's correction.

Questions about one document or turns of one conversation are not independent. Each function takes `groups`, one key per item;
without it each item is its own group. It knows nothing of what the values measure. `benchmarks/coverage.py` simulates how often
the intervals hold the true value.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.groups import (
    SHARE,
    Contributions,
    Floats,
    Interval,
    Range,
    cluster_error,
    contributions_of,
    equal_items,
    group_codes,
    require_level,
    t_quantile,
    unseen_share,
    wilson_bounds,
)
from lorag.pipeline.evaluation.sign_flips import SignFlips

_ROUNDED = 1e-9
"""What a value may lie beyond its range by rounding."""

__all__ = [
    "Corrected",
    "Interval",
    "corrected_tests",
    "difference_test",
    "holm",
    "holm_levels",
    "mean_interval",
    "paired_difference",
    "sign_flip_test",
    "standard_error",
    "wilson",
]


def mean_interval(
    values: Sequence[float], *, groups: Sequence[Hashable] | None = None, level: float = 0.95, within: Range = SHARE
) -> Interval:
    """The interval of a mean of values `within` the range of their metric.

    A finite range is mapped to 0 … 1 and gets Wilson's interval, which stays in the range and never has width zero: with the
    effective number of items m(1−m)/error² and Student's t (Dean and Pagano 2015), and CR2 as the error. Another gets mean ± t ·
    error; if all values are equal, as many items as Wilson's interval of 0 of n allows may be nothing or twice as much. Raises
    InputError for fewer than two groups, a value that is not finite or out of range, a number of groups that does not match, or
    a level outside (0, 1).
    """
    data = _within(_finite(values, "values"), within)
    codes = group_codes(groups, len(data))
    if not within.is_finite:
        require_level(level)
        of = contributions_of(data, codes)
        error = cluster_error(of)
        half = t_quantile(level, error.freedom) * error.error
        if np.ptp(data) <= _ROUNDED * max(1.0, abs(of.value)):
            half = unseen_share(of, level) * max(1.0, abs(of.value))
        low, high = max(within.least, of.value - half), min(within.most, of.value + half)
        return Interval(of.value, low, high, n=of.n, groups=of.count, level=level)
    scaled = (data - within.least) / within.width
    of = contributions_of(scaled, codes)
    is_rate = bool(np.all((scaled == 0) | (scaled == 1)))
    found = wilson(of, of.value, level=level, most=float(of.n) if is_rate else math.inf)
    value, low, high = (within.least + within.width * each for each in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high)


def wilson(of: Contributions, value: float, *, level: float, most: float) -> Interval:
    """Wilson's interval of a `value` from 0 to 1 with the effective number of items of `of`, which is at most `most`.

    If all values are equal, that number is `equal_items`.
    """
    require_level(level)
    error = cluster_error(of)
    spread = value * (1 - value)
    varies = error.error**2 > 1e-12 and spread > 1e-12
    items = spread / error.error**2 if varies else equal_items(of)
    items = max(1.0, min(items, most))
    t = t_quantile(level, error.freedom)
    low, high = wilson_bounds(value, items, t)
    return Interval(value, low, high, n=of.n, groups=of.count, level=level)


def paired_difference(
    base: Sequence[float],
    tuned: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    within: Range = SHARE,
) -> Interval:
    """The interval of mean(tuned − base) that inverts the sign-flip test; `base[i]` and `tuned[i]` are of the same item.

    It excludes zero exactly if `sign_flip_test` gives at most 1 − level. Errors as `mean_interval`.
    """
    return difference_test(base, tuned, groups=groups, within=within).interval(level)


def sign_flip_test(
    base: Sequence[float], tuned: Sequence[float], *, groups: Sequence[Hashable] | None = None, within: Range = SHARE
) -> float:
    """Two-sided p of the paired permutation test: without an effect, base and tuned of a group are exchangeable.

    Raises InputError as `paired_difference` does.
    """
    return difference_test(base, tuned, groups=groups, within=within).p


def difference_test(
    base: Sequence[float], tuned: Sequence[float], *, groups: Sequence[Hashable] | None = None, within: Range = SHARE
) -> SignFlips:
    """The sign-flip test of mean(tuned − base), with its p, intervals at any level, and groups. Errors as `mean_interval`.

    A difference is at most as wide as the metric's range; in one without limit, as what the sample holds.
    """
    before, after = _within(_finite(base, "base"), within), _within(_finite(tuned, "tuned"), within)
    if len(before) != len(after):
        raise InputError(f"{len(before)} base values but {len(after)} tuned ones; they must pair up item by item")
    of = contributions_of(after - before, group_codes(groups, len(before)))
    seen = max(1.0, before.max(), after.max()) - min(0.0, before.min(), after.min())
    return SignFlips(of, widest=within.width if within.is_finite else float(seen))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction (1979): name → adjusted p, to be compared with the level of the whole family.

    Raises InputError for a p outside [0, 1].
    """
    for name, p in p_values.items():
        if not 0 <= p <= 1:
            raise InputError(f"p of {name!r} is {p}, outside 0 to 1")
    adjusted: dict[str, float] = {}
    highest = 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def holm_levels(p_values: Mapping[str, float], alpha: float = 0.05) -> dict[str, float]:
    """Name → the level at which Holm's procedure compares its p: it is rejected exactly if p is at most that.

    The k-th smallest of m is compared at α/(m − k + 1), until one is not rejected; all further ones stop at its level.
    """
    levels: dict[str, float] = {}
    step, stopped = alpha, False
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if not stopped:
            step = alpha / (len(p_values) - place)
            stopped = p > step * (1 + 1e-9)
        levels[name] = step
    return {name: levels[name] for name in p_values}


@dataclass(frozen=True, slots=True)
class Corrected:
    """A test among several: its interval at the level of Holm's correction, and its corrected p. The interval excludes zero
    exactly if the corrected test rejects."""

    interval: Interval
    p: float
    adjusted: float


def corrected_tests(tests: Mapping[str, SignFlips], alpha: float = 0.05) -> dict[str, Corrected]:
    """Name → the test, corrected over all of them by Holm's procedure at `alpha`."""
    p_values = {name: test.p for name, test in tests.items()}
    adjusted, levels = holm(p_values), holm_levels(p_values, alpha)
    return {name: Corrected(test.interval(1 - levels[name]), p_values[name], adjusted[name]) for name, test in tests.items()}


def standard_error(values: Sequence[float], *, groups: Sequence[Hashable] | None = None) -> float:
    """Standard error of the mean that allows for groups, as `cluster_error`. Without groups it is the usual one, s/√n.

    Raises InputError for fewer than two groups.
    """
    data = _finite(values, "values")
    return cluster_error(contributions_of(data, group_codes(groups, len(data)))).error


def _within(data: Floats, within: Range) -> Floats:
    outside = data[(data < within.least - _ROUNDED) | (data > within.most + _ROUNDED)]
    if outside.size:
        raise InputError(f"value {outside[0]:g} is out of the metric's range, {within.least:g} to {within.most:g}")
    clipped: Floats = np.clip(data, within.least, within.most)
    return clipped


def _finite(values: Sequence[float], name: str) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not np.all(np.isfinite(data)):
        raise InputError(f"{name} must be a flat list of finite numbers; leave out items that have no value, and say how many")
    return data
