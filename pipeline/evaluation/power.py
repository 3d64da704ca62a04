"""The power of the sign-flip test, by simulation with the very groups of the data: their number, sizes and spread.

A draw takes as many groups anew, with replacement, from those that were measured, less the difference that was seen. A true
difference moves the draw's interval by as much, so the test shows it if it is larger than the draw's lower half of the interval.
One set of draws therefore gives the power for every difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lorag.pipeline.adapters.looks import MOST_FLIPS
from lorag.pipeline.evaluation.groups import MIN_GROUPS, Contributions, Floats
from lorag.pipeline.evaluation.sign_flips import SEED, allowed, flips, reach

DRAWS = 300
FEWEST_FLIPS = 1_000
MOST_GROUPS = 200
"""More groups are not simulated: beyond, the error falls with the square root of their number."""

POWER = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Power:
    """The power of the test at `alpha` (two-sided): what each draw would need, ascending, infinite if it can show nothing."""

    alpha: float
    margins: Floats

    def of(self, effect: float) -> float:
        """The probability that a true difference of this size is shown."""
        return float(np.mean(self.margins < abs(effect)))

    @property
    def detectable(self) -> float | None:
        """The smallest true difference that is shown with a probability of 80 %; None if none is."""
        found = float(self.margins[math.ceil(POWER * len(self.margins)) - 1])
        return found if math.isfinite(found) else None


def simulate(of: Contributions, alpha: float, groups: int | None = None) -> Power:
    """The power with these groups, or with `groups` of their kind."""
    wanted = groups or of.count
    count = min(wanted, MOST_GROUPS)
    # Resampled groups vary less than new ones would, by (G − 1)/G of their variance.
    spread = of.residuals() * math.sqrt(of.count / (of.count - 1))
    drawn = np.random.default_rng(SEED).integers(0, of.count, size=(count, DRAWS))
    residuals, sizes = spread[drawn], of.sizes[drawn]
    estimates = residuals.sum(axis=0) / sizes.sum(axis=0)
    signs = flips(count, min(MOST_FLIPS, max(FEWEST_FLIPS, math.ceil(4 / alpha))))
    below, _ = reach(residuals - estimates * sizes, sizes, signs)
    rank = allowed(alpha, len(signs))
    limit = -np.partition(-below, rank, axis=0)[rank]
    return Power(alpha, np.sort((limit - estimates) * math.sqrt(count / wanted)))


def items_needed(of: Contributions, alpha: float, effect: float) -> int | None:
    """The number of such items, in groups of their kind, that show a true `effect` with a probability of 80 %.

    At least those of `MIN_GROUPS` groups. None if four guesses at the number find none that shows anything.
    """
    count, found = max(of.count, MIN_GROUPS), None
    for _ in range(4):
        smallest = simulate(of, alpha, count).detectable
        if smallest is None:
            count *= 2
            continue
        found = count * (smallest / effect) ** 2
        if 0.9 <= found / count <= 1.1:
            break
        count = max(MIN_GROUPS, math.ceil(found))
    return None if found is None else math.ceil(max(MIN_GROUPS, found) * of.n / of.count - 1e-9)
