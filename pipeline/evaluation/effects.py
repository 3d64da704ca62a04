"""An effect with its statistics: interval, sign-flip test, standardised size, and the power of that very test.

It knows nothing of what the values measure; `factorial` and `comparison` choose the differences.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from lorag.pipeline.evaluation.groups import MIN_GROUPS, Interval, cluster_error, contributions_of, group_codes
from lorag.pipeline.evaluation.label_significance import macro_f1_test
from lorag.pipeline.evaluation.power import Power, items_needed, simulate
from lorag.pipeline.evaluation.sign_flips import SignFlips
from lorag.pipeline.evaluation.significance import corrected_tests

WORTH = 0.05
"""The smallest relevant difference, by default."""

ALPHA = 0.05
"""The level at which all effects that are tested together are corrected."""

SIMULATED = "* with 80 % power, by simulation of this test with these groups at its strictest corrected level"
"""The note under a table of `Effect.detectable` and `Effect.needed`."""

ROUNDING = 1e-12
"""The rounding error of a difference of zero."""

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference over `n` items in `groups` independent groups, with its interval at `level`.

    `error` is its standard error, which allows for groups. `p` is the sign-flip test's, `adjusted` is corrected for all effects
    tested together, and `level` is that of the correction: the interval excludes zero exactly if the corrected test rejects.
    `strictest` is the smallest level that the correction could have asked for. `rose` and `fell` count items.
    """

    value: float
    low: float
    high: float
    level: float
    n: int
    groups: int
    error: float
    p: float
    rose: int
    fell: int
    adjusted: float
    strictest: float
    test: SignFlips = field(repr=False, compare=False)

    @property
    def shown(self) -> bool:
        """Whether the corrected test rejects at 5 %, on the `MIN_GROUPS` groups that decide."""
        return self.groups >= MIN_GROUPS and (self.low > 0 or self.high < 0)

    @property
    def least_p(self) -> float:
        """The smallest p that so many groups can give."""
        return self.test.least_p

    @property
    def standardised(self) -> float | None:
        """value / (error · √n): Cohen's d of paired differences if items are independent; None if all differences are equal."""
        return self.value / (self.error * math.sqrt(self.n)) if self._varies else None

    @property
    def detectable(self) -> float | None:
        """The smallest true difference that the test shows with 80 % power at its strictest level. None if it can show none,
        and if all differences are equal, which gives no spread to simulate with."""
        return _power(self.test, self.strictest).detectable if self._varies else None

    def power(self, worth: float = WORTH) -> float | None:
        """The probability that the test shows a true difference of `worth` at its strictest level; None as `detectable`."""
        return _power(self.test, self.strictest).of(worth) if self._varies else None

    def needed(self, worth: float = WORTH) -> int | None:
        """The number of such items that show a true difference of `worth` with 80 % power; None as `detectable`."""
        return _needed(self.test, self.strictest, worth) if self._varies else None

    @property
    def _varies(self) -> bool:
        return self.error > ROUNDING


def effect_of(differences: Sequence[float], groups: Sequence[Hashable], *, widest: float = 1.0) -> Effect:
    """The mean of per-item differences, none of which can exceed `widest`.

    Raises InputError for fewer than two groups or a value that is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    test = SignFlips(contributions_of(values, group_codes(groups, len(values))), widest=widest)
    return _effect(test, int(np.sum(values > ROUNDING)), int(np.sum(values < -ROUNDING)))


def macro_f1_effect(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    groups: Sequence[Hashable],
    *,
    tasks: Sequence[Hashable] | None = None,
) -> Effect:
    """macro-F1(tuned) − macro-F1(base), averaged over `tasks`; an item rises if its label becomes right. Raises InputError as
    `effect_of`."""
    test = macro_f1_test(gold, base, tuned, tasks=tasks, groups=groups)
    rows = list(zip(gold, base, tuned, strict=True))
    rose = sum(before != truth == after for truth, before, after in rows)
    fell = sum(before == truth != after for truth, before, after in rows)
    return _effect(test, rose, fell)


def corrected(effects: Mapping[Name, Effect]) -> dict[Name, Effect]:
    """The same effects with `adjusted` p values by Holm's correction over all of them, and intervals at its levels."""
    names = {str(at): name for at, name in enumerate(effects)}
    found = corrected_tests({key: effects[name].test for key, name in names.items()}, ALPHA)
    return {
        name: replace(
            effects[name],
            low=found[key].interval.low,
            high=found[key].interval.high,
            level=found[key].interval.level,
            adjusted=found[key].adjusted,
            strictest=ALPHA / len(effects),
        )
        for key, name in names.items()
    }


def _effect(test: SignFlips, rose: int, fell: int) -> Effect:
    found: Interval = test.interval(1 - ALPHA)
    error, p = cluster_error(test.of).error, test.p
    return Effect(found.value, found.low, found.high, found.level, found.n, found.groups, error, p, rose, fell, p, ALPHA, test)


@lru_cache(maxsize=16)
def _power(test: SignFlips, alpha: float) -> Power:
    return simulate(test.of, alpha)


@lru_cache(maxsize=16)
def _needed(test: SignFlips, alpha: float, worth: float) -> int | None:
    return items_needed(test.of, alpha, worth)
