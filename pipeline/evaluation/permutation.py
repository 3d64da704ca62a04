"""The paired permutation test over groups, for any statistic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lorag.pipeline.evaluation.bootstrap import CELLS, Floats


def swapped_p(differences: Callable[[Floats], Floats], observed: float, count: int, *, resamples: int, seed: int) -> float:
    """Two-sided p: the probability that `count` groups with exchangeable sides differ by at least `observed`.

    `differences` gives the absolute difference, shape (rows,), for `swaps`, shape (rows, count), which are 1 for the groups
    that change sides. All 2^count swaps are counted if they are at most `resamples`. Otherwise that many are drawn and the
    observed one is added, so p is never 0 (Phipson and Smyth 2010).
    """
    if count < 60 and 2**count <= resamples:
        swaps = ((np.arange(2**count)[:, None] >> np.arange(count)) & 1).astype(np.float64)
        return float(np.mean(differences(swaps) >= observed))
    rng, extreme, left = np.random.default_rng(seed), 1, resamples
    while left > 0:
        rows = min(left, max(1, CELLS // count))
        extreme += int(np.sum(differences(rng.integers(0, 2, size=(rows, count)).astype(np.float64)) >= observed))
        left -= rows
    return extreme / (resamples + 1)
