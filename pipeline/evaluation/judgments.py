"""Scores labels against gold labels, and the calibration of their probabilities.

Unparsed judgments (a freely generated reply outside the label format) and failed ones have no label. They are counted, listed
and left out of every other figure; `format_share` is the share of replies in the format. It knows no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.scores import require_unique
from lorag.pipeline.records import Outcome, Verdict

BINS = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """One judged item. `label` is None unless the outcome is ok; `probabilities` over all labels, empty if there are none."""

    id: str
    gold: str
    label: str | None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    outcome: Outcome = Outcome.OK
    group: str = ""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Items with a confidence in (low, high]: their number, mean confidence and accuracy."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class JudgeScores:
    """Scores of a judge over `n` labelled items in `groups` groups.

    `confusion[i][j]` counts items with gold `labels[i]` and given `labels[j]`. `kappa` is None if chance alone always agrees.
    `ece`, `brier` and `reliability` are over the `with_probabilities` items; None and empty if there are none. `ece` and
    `reliability` are over bins of equal width, `ece_mass` and `reliability_mass` over bins of equally many items. `brier_floor`
    is the Brier score of who always gives the gold labels' frequencies in these very items.
    """

    n: int
    groups: int
    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    kappa: float | None
    labels: tuple[str, ...]
    f1: Mapping[str, float]
    confusion: tuple[tuple[int, ...], ...]
    with_probabilities: int
    ece: float | None
    brier: float | None
    brier_floor: float | None
    reliability: tuple[ReliabilityBin, ...]
    ece_mass: float | None
    reliability_mass: tuple[ReliabilityBin, ...]
    format_share: float
    unparsed: tuple[str, ...]
    failed: tuple[str, ...]


def judged(item_id: str, gold: str, verdict: Verdict, group: str = "") -> Judged:
    """A judge's verdict with its gold label. A verdict that is not ok has no label: it is counted, never a wrong answer."""
    label = verdict.label if verdict.outcome is Outcome.OK else None
    return Judged(item_id, gold, label, verdict.probabilities, verdict.outcome, group)


def score_judgments(items: Sequence[Judged]) -> JudgeScores:
    """Score a judge. Raises InputError for a repeated id, a label that contradicts its outcome, or probabilities without the
    gold or given label. Also if no item has a label."""
    require_unique(tuple(item.id for item in items), "item")
    for item in items:
        _check(item)
    labelled = [item for item in items if item.label is not None]
    if not labelled:
        raise InputError(f"none of {len(items)} items has a label, so there is nothing to score")
    labels = tuple(sorted({label for item in labelled for label in (item.gold, item.label) if label is not None}))
    confusion = confusion_matrix([item.gold for item in labelled], [item.label or "" for item in labelled], labels)
    f1 = f1_by_label(confusion)
    sure = [item for item in labelled if item.probabilities]
    confidence = np.array([item.probabilities[item.label or ""] for item in sure])
    right = np.array([item.gold == item.label for item in sure], dtype=bool)
    reliability, by_mass = reliability_bins(confidence, right), reliability_by_mass(confidence, right)
    unparsed = tuple(item.id for item in items if item.outcome is Outcome.UNPARSED)
    return JudgeScores(
        n=len(labelled),
        groups=len({item.group or item.id for item in labelled}),
        accuracy=float(np.trace(confusion) / confusion.sum()),
        macro_f1=float(f1.mean()),
        balanced_accuracy=balanced_accuracy(confusion),
        kappa=cohen_kappa(confusion),
        labels=labels,
        f1={label: float(value) for label, value in zip(labels, f1, strict=True)},
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        with_probabilities=len(sure),
        ece=expected_calibration_error(reliability) if sure else None,
        brier=brier_score(sure) if sure else None,
        brier_floor=brier_of_frequencies([item.gold for item in sure]) if sure else None,
        reliability=reliability,
        ece_mass=expected_calibration_error(by_mass) if sure else None,
        reliability_mass=by_mass,
        format_share=len(labelled) / (len(labelled) + len(unparsed)),
        unparsed=unparsed,
        failed=tuple(item.id for item in items if item.outcome is Outcome.FAILED),
    )


def confusion_matrix(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Counts, shape (labels, labels): gold in rows, predicted in columns."""
    place = {label: at for at, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for truth, guess in zip(gold, predicted, strict=True):
        matrix[place[truth], place[guess]] += 1
    return matrix


def f1_by_label(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of each label, 2·hits / (gold + predicted), shape (labels,); 0 for a label that is neither. Their mean is macro-F1."""
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1: NDArray[np.float64] = 2.0 * np.diag(confusion) / np.maximum(either, 1)
    return f1


def balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    """Mean recall over the labels that occur in gold."""
    gold = confusion.sum(axis=1)
    return float(np.mean(np.diag(confusion)[gold > 0] / gold[gold > 0]))


def cohen_kappa(confusion: NDArray[np.int64]) -> float | None:
    """Agreement beyond chance (Cohen 1960); None if chance always agrees (one label on both sides)."""
    total = confusion.sum()
    chance = float(confusion.sum(axis=0) @ confusion.sum(axis=1)) / float(total) ** 2
    return None if chance == 1 else (float(np.trace(confusion) / total) - chance) / (1 - chance)


def reliability_bins(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Ten bins of equal width, right end included, 0 in the first (Guo et al. 2017); empty bins are left out."""
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return tuple(
        ReliabilityBin(
            at / BINS, (at + 1) / BINS, int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean())
        )
        for at in range(BINS)
        if (inside := place == at).any()
    )


def reliability_by_mass(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Ten bins of equally many items, as far as possible, by confidence (Nguyen & O'Connor 2015); fewer bins if there are fewer
    items.

    A bin reaches from the confidence of its first item to that of its last. If most confidences are near 1, bins of equal width
    would have nearly all of them in one.
    """
    order = np.argsort(confidence, kind="stable")
    return tuple(
        ReliabilityBin(
            float(confidence[part[0]]),
            float(confidence[part[-1]]),
            len(part),
            float(confidence[part].mean()),
            float(right[part].mean()),
        )
        for part in np.array_split(order, min(BINS, len(order)) or 1)
        if len(part)
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Mean distance of confidence and accuracy over the bins, weighted by their items."""
    return sum(each.n * abs(each.accuracy - each.confidence) for each in bins) / sum(each.n for each in bins)


def brier_score(items: Sequence[Judged]) -> float:
    """Mean over items of Σ over labels of (probability − 1[label is gold])², 0 to 2 (Brier 1950)."""
    return float(np.mean([sum((p - (label == item.gold)) ** 2 for label, p in item.probabilities.items()) for item in items]))


def brier_of_frequencies(golds: Sequence[str]) -> float:
    """1 − Σ over labels of frequency²: the Brier score of forecasting the frequencies themselves (Murphy 1973: uncertainty)."""
    return 1.0 - sum((count / len(golds)) ** 2 for count in Counter(golds).values())


def _check(item: Judged) -> None:
    if (item.label is not None) != (item.outcome is Outcome.OK):
        raise InputError(
            f"item {item.id!r} has label {item.label!r} but outcome {item.outcome.value}; only ok items have a label"
        )
    if item.probabilities and not {item.gold, item.label} <= item.probabilities.keys() | {None}:
        raise InputError(f"item {item.id!r}: its probabilities must name gold {item.gold!r} and given label {item.label!r}")
