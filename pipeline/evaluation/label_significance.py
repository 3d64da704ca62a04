"""Intervals and tests of macro-F1, which is no mean of items.

Each group's contribution is what leaving it out changes, scaled to its size: the jackknife (Efron 1982), exact for a mean. With
these contributions macro-F1 has the error, the interval and the test of a mean. The classes of a figure are those that are gold
or predicted in it. With `tasks`, one key an item, macro-F1 is that of each task, averaged over the tasks: each counts alike,
however many classes it has.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.groups import Contributions, Floats, Interval, group_codes
from lorag.pipeline.evaluation.sign_flips import SignFlips
from lorag.pipeline.evaluation.significance import wilson


def macro_f1_interval(
    gold: Sequence[str],
    predicted: Sequence[str],
    *,
    tasks: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Interval:
    """Wilson's interval of macro-F1, as of a mean, with at most 1 / Σ_c (w_c² / n_c) effective items.

    w_c is the weight of a class in the figure and n_c the mean of its gold and predicted items. A rare class decides as much as
    a frequent one, so its few items limit what all are worth. Raises InputError for labels that do not pair up and as
    `mean_interval` does.
    """
    codes, classes = group_codes(groups, len(gold)), _classes(tasks, gold, predicted)
    counts = _count(gold, predicted, codes, classes)
    of = _contributions(counts.macro_f1(), counts.left_out(), codes)
    sizes = counts.either.sum(axis=0) / 2
    weights = (sizes > 0) * counts.weights(sizes > 0)
    most = 1 / float(np.sum(weights**2 / np.maximum(sizes, 0.5)))
    return wilson(of, of.value, level=level, most=most)


def paired_macro_f1(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    *,
    tasks: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Interval:
    """The interval of macro-F1(tuned) − macro-F1(base) that inverts its sign-flip test. Errors as above."""
    return macro_f1_test(gold, base, tuned, tasks=tasks, groups=groups).interval(level)


def macro_f1_test(
    gold: Sequence[str],
    base: Sequence[str],
    tuned: Sequence[str],
    *,
    tasks: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> SignFlips:
    """The sign-flip test of macro-F1(tuned) − macro-F1(base). Errors as above.

    Exchanging the labels of whole groups instead would test that both systems err alike, which is more than equal macro-F1.
    """
    codes, classes = group_codes(groups, len(gold)), _classes(tasks, gold, base, tuned)
    before, after = _count(gold, base, codes, classes), _count(gold, tuned, codes, classes)
    return SignFlips(_contributions(after.macro_f1() - before.macro_f1(), after.left_out() - before.left_out(), codes))


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

    def macro_f1(self) -> float:
        return float(self._figure(self.hits.sum(axis=0), self.either.sum(axis=0)))

    def left_out(self) -> Floats:
        """Macro-F1 without each group in turn, shape (groups,)."""
        return self._figure(self.hits.sum(axis=0) - self.hits, self.either.sum(axis=0) - self.either)

    def weights(self, present: NDArray[np.bool_]) -> Floats:
        """The weight of each class in the figure, shape as `present`, which says whether a class has items: alike within a
        task, and tasks alike. A class without items has no share in it."""
        classes = present @ self.of_task
        found: Floats = 1 / np.maximum(classes, 1) / np.maximum((classes > 0).sum(axis=-1, keepdims=True), 1) @ self.of_task.T
        return found

    def _figure(self, hits: Floats, either: Floats) -> Floats:
        f1 = np.divide(2 * hits, either, out=np.zeros_like(either), where=either > 0)
        macro: Floats = (f1 * self.weights(either > 0)).sum(axis=-1)
        return macro


def _contributions(value: float, left_out: Floats, codes: NDArray[np.intp]) -> Contributions:
    sizes = np.bincount(codes).astype(np.float64)
    changes = (value - left_out) * (len(codes) - sizes)
    return Contributions(value * sizes + changes - sizes * float(changes.sum()) / len(codes), sizes, len(codes))


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
    groups = int(codes.max()) + 1
    hits, either = np.zeros((groups, len(classes.places))), np.zeros((groups, len(classes.places)))
    for code, task, truth, guess in zip(codes, classes.tasks, gold, predicted, strict=True):
        either[code, classes.places[task, truth]] += 1
        either[code, classes.places[task, guess]] += 1
        hits[code, classes.places[task, truth]] += truth == guess
    return _Counts(hits, either, classes.of_task)
