"""An effect with its statistics: interval, permutation test, standardised size, and smallest detectable effect.

It knows nothing of what the values measure; `factorial` and `comparison` choose the differences.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lorag.pipeline.evaluation.bootstrap import Interval
from lorag.pipeline.evaluation.label_significance import macro_f1_swap_test, paired_macro_f1, paired_macro_f1_error
from lorag.pipeline.evaluation.significance import detectable, holm, items_needed, mean_interval, sign_flip_test, standard_error

WORTH = 0.05
"""The smallest relevant difference, by default."""

UNCORRECTED = "* with 80 % power and before correction, as if nothing else were tested: corrected, both are larger"
"""The note under a table of `Effect.detectable` and `Effect.needed`."""

ROUNDING = 1e-12
"""The rounding error of a difference of zero."""

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference with its 95 % interval over `n` items in `groups` independent groups.

    `error` is its standard error, which allows for groups. `p` is the permutation test's, `adjusted` is corrected for all
    effects tested together. `rose` and `fell` count items.
    """

    value: float
    low: float
    high: float
    n: int
    groups: int
    error: float
    p: float
    rose: int
    fell: int
    adjusted: float

    @property
    def shown(self) -> bool:
        """Whether both the interval and the corrected test are significant at 5 %."""
        return (self.low > 0 or self.high < 0) and self.adjusted <= 0.05

    @property
    def standardised(self) -> float | None:
        """value / (error · √n): Cohen's d of paired differences if items are independent; None if all differences are equal."""
        return self.value / (self.error * math.sqrt(self.n)) if self.error > ROUNDING else None

    @property
    def detectable(self) -> float | None:
        """The smallest true difference that these items show with 80 % power, before correction for other tests. None if all
        differences are equal, which gives no error estimate."""
        return detectable(self.error) if self.error > ROUNDING else None

    def needed(self, worth: float = WORTH) -> int | None:
        """The number of such items that show a true difference of `worth` with 80 % power; otherwise as `detectable`."""
        return items_needed(self.error, self.n, worth) if self.error > ROUNDING else None


def effect_of(differences: Sequence[float], groups: Sequence[Hashable], *, seed: int = 0) -> Effect:
    """The mean of per-item differences. Raises InputError for fewer than two groups or a value that is not finite."""
    interval = mean_interval(differences, groups=groups, seed=seed)
    p = sign_flip_test([0.0] * len(differences), differences, groups=groups, seed=seed)
    rose, fell = sum(each > ROUNDING for each in differences), sum(each < -ROUNDING for each in differences)
    return _effect(interval, standard_error(differences, groups=groups), p, rose, fell)


def macro_f1_effect(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    groups: Sequence[Hashable],
    *,
    tasks: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Effect:
    """macro-F1(tuned) − macro-F1(base), averaged over `tasks`; an item rises if its label becomes right. Raises InputError as
    `effect_of`."""
    interval = paired_macro_f1(gold, base, tuned, tasks=tasks, groups=groups, seed=seed)
    p = macro_f1_swap_test(gold, base, tuned, tasks=tasks, groups=groups, seed=seed)
    rows = list(zip(gold, base, tuned, strict=True))
    rose = sum(before != truth == after for truth, before, after in rows)
    fell = sum(before == truth != after for truth, before, after in rows)
    error = paired_macro_f1_error(gold, base, tuned, tasks=tasks, groups=groups)
    return _effect(interval, error, p, rose, fell)


def corrected(effects: Mapping[Name, Effect]) -> dict[Name, Effect]:
    """The same effects with `adjusted` p values by Holm's correction over all of them."""
    names = {str(at): name for at, name in enumerate(effects)}
    adjusted = holm({key: effects[name].p for key, name in names.items()})
    return {name: replace(effects[name], adjusted=adjusted[key]) for key, name in names.items()}


def _effect(interval: Interval, error: float, p: float, rose: int, fell: int) -> Effect:
    return Effect(interval.value, interval.low, interval.high, interval.n, interval.groups, error, p, rose, fell, p)
