"""Statistics of a figure: bootstrap intervals, paired tests, Holm's correction, and the number of items for an effect.

Questions about one document or turns of one conversation are not independent. Each function takes `groups`, one key per item,
and resamples whole groups; without it each item is its own group. Everything is seeded. It knows nothing of what the values
measure.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.bootstrap import Floats, Interval, Method, Statistic, bootstrap, group_codes
from lorag.pipeline.evaluation.permutation import swapped_p

__all__ = [
    "Interval",
    "Method",
    "detectable",
    "holm",
    "items_needed",
    "mean_interval",
    "paired_difference",
    "sign_flip_test",
    "standard_error",
]

_NORMAL = NormalDist()


def mean_interval(
    values: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "bca",
) -> Interval:
    """Bootstrap interval of a mean. Equal values give an interval of width zero, a limit of the bootstrap.

    Raises InputError for fewer than two groups, a value that is not finite or a number of groups that does not match.
    """
    data = _finite(values, "values")
    codes = group_codes(groups, len(data))
    return bootstrap(_mean(data, codes), codes, level=level, resamples=resamples, seed=seed, method=method)


def paired_difference(
    base: Sequence[float],
    tuned: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "bca",
) -> Interval:
    """Bootstrap interval of mean(tuned − base); `base[i]` and `tuned[i]` are of the same item. Errors as `mean_interval`."""
    differences = _differences(base, tuned)
    return mean_interval(differences.tolist(), groups=groups, level=level, resamples=resamples, seed=seed, method=method)


def sign_flip_test(
    base: Sequence[float],
    tuned: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """Two-sided p of the paired permutation test: without an effect, base and tuned of a group are exchangeable.

    Swaps are counted as in `swapped_p`. Raises InputError as `paired_difference` does.
    """
    differences = _differences(base, tuned)
    codes = group_codes(groups, len(differences))
    sums = np.bincount(codes, weights=differences)
    observed = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()  # swaps equal in theory differ in the last digit
    return swapped_p(lambda swaps: np.abs((1.0 - 2.0 * swaps) @ sums), observed, len(sums), resamples=resamples, seed=seed)


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


def standard_error(values: Sequence[float], *, groups: Sequence[Hashable] | None = None) -> float:
    """Standard error of the mean that allows for groups: CR1 of Liang and Zeger 1986, sqrt(G/(G−1) · Σ_g (Σ_i∈g e_i)²) / n.

    Without groups it is the usual s/√n. Raises InputError for fewer than two groups.
    """
    data = _finite(values, "values")
    codes = group_codes(groups, len(data))
    count = int(codes.max()) + 1 if codes.size else 0
    if count < 2:
        raise InputError(f"a standard error needs at least two independent groups of items, found {count}; add test items")
    residuals = np.bincount(codes, weights=data - data.mean())
    return math.sqrt(count / (count - 1) * float(residuals @ residuals)) / len(data)


def detectable(error: float, *, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest true effect that an estimate with this standard error shows at `level` with probability `power`.

    (z_(1−α/2) + z_power) · error, the normal approximation: 2.80 errors at 95 % and 80 %. With fewer than about 20 groups it is
    slightly too small. Raises InputError for a level or power outside (0, 1).
    """
    if not (0 < level < 1 and 0 < power < 1):
        raise InputError(f"level {level} and power {power} must both lie between 0 and 1")
    return (_NORMAL.inv_cdf(1 - (1 - level) / 2) + _NORMAL.inv_cdf(power)) * error


def items_needed(error: float, items: int, effect: float, *, level: float = 0.95, power: float = 0.8) -> int:
    """The number of items that show a true `effect`, if `items` of the same kind and grouping have this error; at least 2.

    Raises InputError for an effect of zero, which no number of items shows, and as `detectable`.
    """
    if effect == 0 or not math.isfinite(effect):
        raise InputError(f"effect {effect} cannot be shown by any number of questions; give the difference that would matter")
    return max(2, math.ceil(items * (detectable(error, level=level, power=power) / effect) ** 2 - 1e-9))


def _mean(values: Floats, codes: NDArray[np.intp]) -> Statistic:
    sums, sizes = np.bincount(codes, weights=values), np.bincount(codes).astype(np.float64)
    if np.all(sizes == 1):
        return lambda weights: weights @ sums / len(sums)
    return lambda weights: (weights @ sums) / (weights @ sizes)


def _finite(values: Sequence[float], name: str) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not np.all(np.isfinite(data)):
        raise InputError(f"{name} must be a flat list of finite numbers; leave out items that have no value, and say how many")
    return data


def _differences(base: Sequence[float], tuned: Sequence[float]) -> Floats:
    before, after = _finite(base, "base"), _finite(tuned, "tuned")
    if len(before) != len(after):
        raise InputError(f"{len(before)} base values but {len(after)} tuned ones; they must pair up item by item")
    return after - before
