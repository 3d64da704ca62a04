"""The sign-flip test over groups, the interval that inverts it, and its power by simulation.

Without an effect, the two sides of a group are exchangeable, so its contribution to the difference is as likely with either
sign. For a true difference d the same holds of the group's sum minus d times its size. The interval holds every d that the test
does not reject, so it excludes zero exactly if p is at most 1 − level.

For one flip of signs ε the test statistic is |Σ ε_g r_g(d)|, with r_g(d) = sums_g − d · sizes_g. It reaches the observed
|Σ r_g(d)| for all d of one stretch around the estimate, whose ends have a closed form. So p(d) is a count of stretches and the
interval's ends are their order statistics: no search, and one matrix product for all flips.

Rejected by simulation: with 8 to 20 groups of skewed sizes Student's t with CR1 or CR2 covers 89 to 93 % and errs about zero on
one side in 4 to 6 %, Hall's correction for skewness covers 86 to 91 %; this interval covers 94 to 97 % and errs in 2 to 3 %.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.adapters.looks import MOST_FLIPS
from lorag.pipeline.evaluation.groups import Contributions, Floats, Interval, require_level, unseen_share

Signs = NDArray[np.int8]

SEED = 0
CELLS = 1 << 20
"""The most signs that are held as float64 at a time."""

TIE = 1e-12
"""Sums equal in theory differ in the last digits: this share of their scale."""


class SignFlips:
    """The test of one difference. `widest` bounds what a difference can be, and with it an interval that no flip bounds."""

    __slots__ = ("_above", "_below", "_tie", "of", "widest")

    def __init__(self, of: Contributions, *, widest: float = 1.0) -> None:
        self.of, self.widest = of, widest
        self._tie = TIE * float(np.abs(of.sums).sum() / of.sizes.sum())
        below, above = reach(of.residuals()[:, None], of.sizes[:, None], flips(of.count, MOST_FLIPS))
        self._below, self._above = np.sort(below[:, 0])[::-1], np.sort(above[:, 0])[::-1]

    @property
    def p(self) -> float:
        """Two-sided p of no difference. Never 0: the observed signs count among the flips (Phipson and Smyth 2010)."""
        value = self.of.value
        side = self._below if value > 0 else self._above
        return float(np.mean(side >= abs(value) - self._tie))

    @property
    def least_p(self) -> float:
        """The smallest p that so many groups can give."""
        return 1 / len(self._below)

    def interval(self, level: float = 0.95) -> Interval:
        """The differences that the test does not reject at 1 − level. Raises InputError for a level outside (0, 1).

        If all groups differ alike, the test has nothing to go by, and would leave no width. Then as many items as Wilson's
        interval of 0 of n allows may differ otherwise: by `widest` either way if no item differs, else by nothing or by `widest`
        on the same side. So it still excludes zero exactly if the test rejects.
        """
        require_level(level)
        rank, value = allowed(1 - level, len(self._below)), self.of.value
        low = value - self._below[rank] - self._tie
        high = value + self._above[rank] + self._tie
        if not np.any(np.abs(self.of.residuals()) > self._tie * self.of.sizes):
            below, above = self._unseen(level)
            low, high = min(low, value - below), max(high, value + above)
        low, high = max(float(low), -self.widest), min(float(high), self.widest)
        return Interval(value, low, high, n=self.of.n, groups=self.of.count, level=level)

    def _unseen(self, level: float) -> tuple[float, float]:
        """How far below and above the estimate the difference may be if all groups differ alike."""
        share, size = unseen_share(self.of, level), abs(self.of.value)
        if size <= self._tie:
            return share * self.widest, share * self.widest
        inward, outward = share * size, share * max(0.0, self.widest - size)
        return (inward, outward) if self.of.value > 0 else (outward, inward)


def allowed(alpha: float, count: int) -> int:
    """How many of `count` flips may reach the observed sum if the test is to reject at `alpha`."""
    return min(math.floor(alpha * count + 1e-9), count - 1)


def reach(residuals: Floats, sizes: Floats, signs: Signs) -> tuple[Floats, Floats]:
    """How far below and above the estimate each flip's stretch goes; shape (flips, columns), infinite if it has no end.

    `residuals` and `sizes` have shape (groups, columns), one column a data set; `signs` shape (flips, groups).
    """
    columns = np.hstack([residuals, sizes])
    rows = max(1, CELLS // len(columns))
    signed = [signs[start : start + rows].astype(np.float64) @ columns for start in range(0, len(signs), rows)]
    flipped, kept = np.split(np.concatenate(signed), 2, axis=1)
    total = sizes.sum(axis=0)
    size = np.abs(flipped)
    with np.errstate(divide="ignore", invalid="ignore"):
        wide, narrow = size / (total - kept), size / (total + kept)
    none = np.minimum(total - kept, total + kept) < 0.5  # sizes are whole numbers: the observed signs, or all of them turned
    upward = flipped > 0
    below = np.where(none, np.inf, np.where(upward, wide, narrow))
    above = np.where(none, np.inf, np.where(upward, narrow, wide))
    return below, above


@lru_cache(maxsize=4)
def flips(count: int, most: int) -> Signs:
    """Signs of `count` groups, shape (flips, count), the observed ones first: all of them if they are at most `most`.

    A flip and its opposite say the same, so the first sign is never turned.
    """
    if count <= 40 and 2 ** (count - 1) <= most:
        turned = ((np.arange(2 ** (count - 1))[:, None] << 1 >> np.arange(count)) & 1).astype(np.uint8)
    else:
        drawn = np.random.default_rng(SEED).bytes(most * ((count + 7) // 8))
        turned = np.unpackbits(np.frombuffer(drawn, dtype=np.uint8).reshape(most, -1), axis=1, count=count)
        turned[0] = 0
    signs: Signs = 1 - 2 * turned.astype(np.int8)
    signs.setflags(write=False)
    return signs
