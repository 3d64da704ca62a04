"""Items in independent groups (documents, conversations), and what each group contributes to a figure.

Questions about one document or turns of one conversation are not independent, so a figure's error is that of its groups. It
knows nothing of what the values measure.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.adapters.evidence import MIN_GROUPS as MIN_GROUPS
from lorag.pipeline.errors import InputError

Floats = NDArray[np.float64]

LIKENESS = 0.3
"""The correlation of items of one group that is assumed if all values are equal, since then the data do not tell it."""


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest value that a metric can have, by its definition and not by what a sample happens to hold.

    An end without limit is infinite.
    """

    least: float = 0.0
    most: float = 1.0

    @property
    def width(self) -> float:
        return self.most - self.least

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.width)


SHARE = Range()
"""The range of shares, and of nearly every metric."""
UNBOUNDED = Range(-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval at `level`, from `n` items in `groups` independent groups."""

    value: float
    low: float
    high: float
    n: int
    groups: int
    level: float = 0.95

    @property
    def is_shown(self) -> bool:
        """For a difference: whether the interval excludes zero, on the `MIN_GROUPS` groups that decide."""
        return self.groups >= MIN_GROUPS and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """A figure of `n` items as Σ sums / Σ sizes over its groups: a mean exactly, another statistic to first order.

    Both arrays have shape (groups,); `sizes` count items.
    """

    sums: Floats
    sizes: Floats
    n: int

    @property
    def value(self) -> float:
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def count(self) -> int:
        """The number of groups."""
        return len(self.sizes)

    def residuals(self) -> Floats:
        """What each group's sum differs by from what the figure predicts for its size; they add up to zero."""
        found: Floats = self.sums - self.value * self.sizes
        return found


@dataclass(frozen=True, slots=True)
class ClusterError:
    """A standard error that allows for groups, and its degrees of freedom for Student's t."""

    error: float
    freedom: float


def group_codes(groups: Sequence[Hashable] | None, count: int) -> NDArray[np.intp]:
    """A number 0 … G−1 for the group of each of `count` items, by first appearance; each its own without `groups`.

    Raises InputError if the keys are not one an item, or for fewer than two groups.
    """
    if groups is None:
        codes = np.arange(count, dtype=np.intp)
    elif len(groups) != count:
        raise InputError(f"{len(groups)} group keys for {count} items; one key an item is needed")
    else:
        known: dict[Hashable, int] = {}
        codes = np.array([known.setdefault(group, len(known)) for group in groups], dtype=np.intp)
    found = int(codes.max()) + 1 if codes.size else 0
    if found < 2:
        raise InputError(f"an interval needs at least two independent groups of items, found {found}; add test items")
    return codes


def contributions_of(values: Floats, codes: NDArray[np.intp]) -> Contributions:
    """The contributions of a mean."""
    return Contributions(
        np.bincount(codes, weights=values).astype(np.float64), np.bincount(codes).astype(np.float64), len(values)
    )


def cluster_error(of: Contributions) -> ClusterError:
    """CR2 of Bell and McCaffrey (2002), with their degrees of freedom, for a mean of items in groups.

    With residuals r_g and shares of the items h_g it is √Σ_g r_g²/(1 − h_g) / n. Its square is the quadratic form of a working
    model of independent items; tr² / ‖·‖² of that form are the degrees of freedom (Satterthwaite): G − 1 with equal groups, less
    with unequal ones.
    """
    total = float(of.sizes.sum())
    shares = of.sizes / total
    scale = 1 / (1 - shares)
    error = math.sqrt(float(scale @ of.residuals() ** 2)) / total
    own = scale * of.sizes * (1 - shares)
    cross = scale * of.sizes**2 / total
    norm = float(own @ own) + float(cross.sum()) ** 2 - float(cross @ cross)
    return ClusterError(error, float(own.sum()) ** 2 / norm)


def equal_items(of: Contributions) -> float:
    """The effective number of items if all values are equal: n / (1 + (k − 1) · `LIKENESS`) for groups of k items (Kish 1965)."""
    return of.n / (1 + (float(of.sizes @ of.sizes) / of.n - 1) * LIKENESS)


def unseen_share(of: Contributions, level: float) -> float:
    """The share of items that may differ though all that were seen are equal: the upper end of Wilson's interval of 0 of n."""
    squared = t_quantile(level, of.count - 1) ** 2
    return squared / (equal_items(of) + squared)


def t_quantile(level: float, freedom: float) -> float:
    """The quantile of Student's t that bounds a two-sided interval at `level`."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - (1 - level) / 2))


def wilson_bounds(value: float, items: float, t: float) -> tuple[float, float]:
    """Both ends of Wilson's interval (1927) of a `value` from 0 to 1 worth `items` independent items; `t` is the quantile."""
    middle, weight = value + t * t / (2 * items), 1 + t * t / items
    half = t * math.sqrt(value * (1 - value) / items + t * t / (4 * items**2))
    low, high = max(0.0, (middle - half) / weight), min(1.0, (middle + half) / weight)
    return min(low, value), max(high, value)


def require_level(level: float) -> None:
    """Raises InputError for a level outside (0, 1)."""
    if not 0 < level < 1:
        raise InputError(f"level {level} is not between 0 and 1; 0.95 is usual")
