"""The cluster bootstrap: whole groups of items are resampled, and a statistic is computed on each resample.

A statistic is a function of how often each group was drawn, so all resampling is one matrix product. It is seeded and
reproducible. It knows nothing of what the statistic measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import InputError

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Group weights, shape (replicates, groups) → values, shape (replicates,)."""

Method = Literal["bca", "percentile"]

_NORMAL = NormalDist()
CELLS = 1 << 22
"""Maximum group weights in memory: 32 MiB of float64."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval at `level`, from `n` items in `groups` independent groups."""

    value: float
    low: float
    high: float
    n: int
    groups: int
    level: float = 0.95


def group_codes(groups: Sequence[Hashable] | None, count: int) -> NDArray[np.intp]:
    """A number 0 … G−1 for the group of each of `count` items, by first appearance; each its own without `groups`.

    Raises InputError if the keys are not one an item.
    """
    if groups is None:
        return np.arange(count, dtype=np.intp)
    if len(groups) != count:
        raise InputError(f"{len(groups)} group keys for {count} items; one key an item is needed")
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(group, len(known)) for group in groups], dtype=np.intp)


def bootstrap(
    statistic: Statistic,
    codes: NDArray[np.intp],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "bca",
) -> Interval:
    """Cluster bootstrap of any statistic; `codes[i]` is the group (0 … G−1) of item i.

    `bca` corrects for bias and skew (Efron 1987; acceleration by jackknife over groups, ties counted half as scipy does). If
    all replicates are on one side of the value, the correction is undefined and the percentile interval is returned. Raises
    InputError for fewer than two groups or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError(f"level {level} is not between 0 and 1; 0.95 is usual")
    count = int(codes.max()) + 1 if codes.size else 0
    if count < 2:
        raise InputError(f"an interval needs at least two independent groups of items, found {count}; add test items")
    value = float(statistic(np.ones((1, count)))[0])
    replicates = _replicate(statistic, count, resamples, np.random.default_rng(seed))
    tail = (1 - level) / 2
    quantiles = (tail, 1 - tail)
    if method == "bca":
        quantiles = _bca_quantiles(statistic, value, replicates, count, tail)
    low, high = np.quantile(replicates, quantiles)
    return Interval(value, float(low), float(high), n=len(codes), groups=count, level=level)


def jackknife_error(statistic: Statistic, codes: NDArray[np.intp]) -> float:
    """Standard error of any statistic, by leaving out a group at a time: sqrt((G−1)/G · Σ_g (θ_−g − mean)²) (Efron 1982).

    For the mean of groups of equal size it is the usual one. Raises InputError for fewer than two groups.
    """
    count = int(codes.max()) + 1 if codes.size else 0
    if count < 2:
        raise InputError(f"a standard error needs at least two independent groups of items, found {count}; add test items")
    left_out = _jackknife(statistic, count)
    return math.sqrt((count - 1) / count * float(np.sum((left_out - left_out.mean()) ** 2)))


def _replicate(statistic: Statistic, count: int, resamples: int, rng: np.random.Generator) -> Floats:
    if resamples < 1:
        raise InputError(f"{resamples} resamples; at least 1 is needed, 10,000 is usual")
    parts: list[Floats] = []
    left = resamples
    while left > 0:
        rows = min(left, max(1, CELLS // count))
        drawn = rng.integers(0, count, size=(rows, count)) + np.arange(rows)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
        parts.append(statistic(weights))
        left -= rows
    return np.concatenate(parts)


def _jackknife(statistic: Statistic, count: int) -> Floats:
    rows = max(1, CELLS // count)
    parts: list[Floats] = []
    for start in range(0, count, rows):
        left_out = np.arange(start, min(start + rows, count))
        weights = np.ones((len(left_out), count))
        weights[np.arange(len(left_out)), left_out] = 0
        parts.append(statistic(weights))
    return np.concatenate(parts)


def _bca_quantiles(statistic: Statistic, value: float, replicates: Floats, count: int, tail: float) -> tuple[float, float]:
    below = float(np.sum(replicates < value) + np.sum(replicates <= value)) / (2 * len(replicates))
    if below in (0.0, 1.0):
        return tail, 1 - tail
    left_out = _jackknife(statistic, count)
    spread = left_out.mean() - left_out
    squares = float(np.sum(spread**2))
    acceleration = float(np.sum(spread**3)) / (6 * squares**1.5) if squares > 0 else 0.0
    bias = _NORMAL.inv_cdf(below)

    def corrected(quantile: float) -> float:
        shifted = bias + _NORMAL.inv_cdf(quantile)
        return _NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))

    return corrected(tail), corrected(1 - tail)
