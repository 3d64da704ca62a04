"""Intervals and tests of macro-F1, which is no mean of items: it is recomputed on every resample.

As in `significance`, whole groups of items are resampled, and everything is seeded. The classes of a resample are those that
are gold or predicted in it, as for the figure itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.bootstrap import Floats, Interval, Method, bootstrap, group_codes, jackknife_error
from lorag.pipeline.evaluation.permutation import swapped_p


def macro_f1_interval(
    gold: Sequence[str],
    predicted: Sequence[str],
    *,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "bca",
) -> Interval:
    """Bootstrap interval of macro-F1. Raises InputError for labels that do not pair up and as `bootstrap` does."""
    codes = group_codes(groups, len(gold))
    counts = _count(gold, predicted, codes, _classes(gold, predicted))
    return bootstrap(counts.macro_f1, codes, level=level, resamples=resamples, seed=seed, method=method)


def paired_macro_f1(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    *,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "bca",
) -> Interval:
    """Bootstrap interval of macro-F1(tuned) − macro-F1(base), both on the same resampled items. Errors as above."""
    codes, before, after = _pair(gold, base, tuned, groups)
    return bootstrap(
        lambda weights: after.macro_f1(weights) - before.macro_f1(weights),
        codes,
        level=level,
        resamples=resamples,
        seed=seed,
        method=method,
    )


def paired_macro_f1_error(
    gold: Sequence[str], base: Sequence[str], tuned: Sequence[str], *, groups: Sequence[Hashable] | None = None
) -> float:
    """Jackknife standard error of macro-F1(tuned) − macro-F1(base). Errors as above."""
    codes, before, after = _pair(gold, base, tuned, groups)
    return jackknife_error(lambda weights: after.macro_f1(weights) - before.macro_f1(weights), codes)


def macro_f1_swap_test(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """Two-sided p of the paired permutation test: without an effect, base and tuned labels of a group are exchangeable.

    Swaps are counted as in `swapped_p`. Errors as above.
    """
    codes, before, after = _pair(gold, base, tuned, groups)
    count = int(codes.max()) + 1 if codes.size else 0

    def differences(swaps: Floats) -> Floats:
        """The absolute difference of both sides' macro-F1; `swaps`, shape (rows, groups), are 1 for the groups that change
        sides."""
        one = before.mixed(after, swaps)
        other = after.mixed(before, swaps)
        return np.abs(other - one)

    observed = float(differences(np.zeros((1, count)))[0]) - 1e-12
    return swapped_p(differences, observed, count, resamples=resamples, seed=seed)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts by group and class, shape (groups, classes): right ones, and gold ones plus predicted ones."""

    hits: Floats
    either: Floats

    def macro_f1(self, weights: Floats) -> Floats:
        """Macro-F1, shape (rows,), with each group counted as often as `weights`, shape (rows, groups), says."""
        return _macro_f1(weights @ self.hits, weights @ self.either)

    def mixed(self, other: _Counts, swaps: Floats) -> Floats:
        """Macro-F1 with the groups in `swaps` taken from `other`."""
        keep = 1 - swaps
        return _macro_f1(keep @ self.hits + swaps @ other.hits, keep @ self.either + swaps @ other.either)


def _macro_f1(hits: Floats, either: Floats) -> Floats:
    f1 = np.divide(2 * hits, either, out=np.zeros_like(either), where=either > 0)
    macro: Floats = f1.sum(axis=1) / np.maximum((either > 0).sum(axis=1), 1)
    return macro


def _classes(*labels: Sequence[str]) -> dict[str, int]:
    return {label: at for at, label in enumerate(sorted({label for each in labels for label in each}))}


def _count(gold: Sequence[str], predicted: Sequence[str], codes: NDArray[np.intp], classes: dict[str, int]) -> _Counts:
    if len(gold) != len(predicted):
        raise InputError(f"{len(gold)} gold labels but {len(predicted)} predicted ones; they must pair up")
    groups = int(codes.max()) + 1 if codes.size else 0
    hits, either = np.zeros((groups, len(classes))), np.zeros((groups, len(classes)))
    for code, truth, guess in zip(codes, gold, predicted, strict=True):
        either[code, classes[truth]] += 1
        either[code, classes[guess]] += 1
        hits[code, classes[truth]] += truth == guess
    return _Counts(hits, either)


def _pair(
    gold: Sequence[str], base: Sequence[str], tuned: Sequence[str], groups: Sequence[Hashable] | None
) -> tuple[NDArray[np.intp], _Counts, _Counts]:
    codes, classes = group_codes(groups, len(gold)), _classes(gold, base, tuned)
    return codes, _count(gold, base, codes, classes), _count(gold, tuned, codes, classes)
