"""Intervals and tests of macro-F1, which is no mean of items: it is recomputed on every resample.

With `tasks`, one key an item, macro-F1 is that of each task, averaged over the tasks: each counts alike, however many classes it
has. As in `significance`, whole groups of items are resampled, and everything is seeded. The classes of a resample are those that
are gold or predicted in it, as for the figure itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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
    tasks: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "bca",
) -> Interval:
    """Bootstrap interval of macro-F1. Raises InputError for labels that do not pair up and as `bootstrap` does."""
    codes = group_codes(groups, len(gold))
    counts = _count(gold, predicted, codes, _classes(tasks, gold, predicted))
    return bootstrap(counts.macro_f1, codes, level=level, resamples=resamples, seed=seed, method=method)


def paired_macro_f1(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    *,
    tasks: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "bca",
) -> Interval:
    """Bootstrap interval of macro-F1(tuned) − macro-F1(base), both on the same resampled items. Errors as above."""
    codes, before, after = _pair(gold, base, tuned, tasks, groups)
    return bootstrap(
        lambda weights: after.macro_f1(weights) - before.macro_f1(weights),
        codes,
        level=level,
        resamples=resamples,
        seed=seed,
        method=method,
    )


def paired_macro_f1_error(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    *,
    tasks: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> float:
    """Jackknife standard error of macro-F1(tuned) − macro-F1(base). Errors as above."""
    codes, before, after = _pair(gold, base, tuned, tasks, groups)
    return jackknife_error(lambda weights: after.macro_f1(weights) - before.macro_f1(weights), codes)


def macro_f1_swap_test(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    *,
    tasks: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """Two-sided p of the paired permutation test: without an effect, base and tuned labels of a group are exchangeable.

    Swaps are counted as in `swapped_p`. Errors as above.
    """
    codes, before, after = _pair(gold, base, tuned, tasks, groups)
    count = int(codes.max()) + 1 if codes.size else 0

    def differences(swaps: Floats) -> Floats:
        """The absolute difference of both sides' macro-F1; `swaps`, shape (rows, groups), are 1 for the groups that change
        sides."""
        one = before.mixed(after, swaps)
        other = after.mixed(before, swaps)
        return np.abs(other - one)

    observed = float(differences(np.zeros((1, count)))[0]) - 1e-12
    return swapped_p(differences, observed, count, resamples=resamples, seed=seed)


Class = tuple[Hashable, str]
"""A label of a task. Equal labels of two tasks are two classes."""


@dataclass(frozen=True, slots=True)
class _Classes:
    """The classes of all items. `tasks` is each item's task; `of_task`, shape (classes, tasks), is 1 for the task of a class."""

    tasks: Sequence[Hashable]
    places: Mapping[Class, int]
    of_task: Floats


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts by group and class, shape (groups, classes): right ones, and gold ones plus predicted ones. `of_task` as in
    `_Classes`."""

    hits: Floats
    either: Floats
    of_task: Floats

    def macro_f1(self, weights: Floats) -> Floats:
        """Macro-F1, shape (rows,), with each group counted as often as `weights`, shape (rows, groups), says."""
        return _macro_f1(weights @ self.hits, weights @ self.either, self.of_task)

    def mixed(self, other: _Counts, swaps: Floats) -> Floats:
        """Macro-F1 with the groups in `swaps` taken from `other`."""
        keep = 1 - swaps
        return _macro_f1(keep @ self.hits + swaps @ other.hits, keep @ self.either + swaps @ other.either, self.of_task)


def _macro_f1(hits: Floats, either: Floats, of_task: Floats) -> Floats:
    """The mean over tasks of the mean F1 of each task's classes; classes and tasks without any item do not count."""
    f1 = np.divide(2 * hits, either, out=np.zeros_like(either), where=either > 0)
    classes = (either > 0) @ of_task
    by_task = (f1 @ of_task) / np.maximum(classes, 1)
    macro: Floats = by_task.sum(axis=1) / np.maximum((classes > 0).sum(axis=1), 1)
    return macro


def _classes(tasks: Sequence[Hashable] | None, *labels: Sequence[str]) -> _Classes:
    of_items = [""] * len(labels[0]) if tasks is None else tasks
    if len(of_items) != len(labels[0]):
        raise InputError(f"{len(of_items)} tasks for {len(labels[0])} items; one task an item is needed")
    known = dict.fromkeys((task, label) for each in labels for task, label in zip(of_items, each, strict=False))
    names = {task: at for at, task in enumerate(dict.fromkeys(of_items))}
    of_task = np.zeros((len(known), len(names)))
    for at, (task, _) in enumerate(known):
        of_task[at, names[task]] = 1
    return _Classes(of_items, {each: at for at, each in enumerate(known)}, of_task)


def _count(gold: Sequence[str], predicted: Sequence[str], codes: NDArray[np.intp], classes: _Classes) -> _Counts:
    if len(gold) != len(predicted):
        raise InputError(f"{len(gold)} gold labels but {len(predicted)} predicted ones; they must pair up")
    groups = int(codes.max()) + 1 if codes.size else 0
    hits, either = np.zeros((groups, len(classes.places))), np.zeros((groups, len(classes.places)))
    for code, task, truth, guess in zip(codes, classes.tasks, gold, predicted, strict=True):
        either[code, classes.places[task, truth]] += 1
        either[code, classes.places[task, guess]] += 1
        hits[code, classes.places[task, truth]] += truth == guess
    return _Counts(hits, either, classes.of_task)


def _pair(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    tasks: Sequence[Hashable] | None,
    groups: Sequence[Hashable] | None,
) -> tuple[NDArray[np.intp], _Counts, _Counts]:
    codes, classes = group_codes(groups, len(gold)), _classes(tasks, gold, base, tuned)
    return codes, _count(gold, base, codes, classes), _count(gold, tuned, codes, classes)
