"""The risk–coverage curve of a system that may stay silent: how often it errs if it answers only what it is surest of.

Questions are answered in the order of confidence. Risk is the share of wrong answers among those given (El-Yaniv & Wiener 2010);
AURC is its mean over the numbers of answers given, and excess AURC its distance from the best order (Geifman et al. 2019). A
constant confidence has the AURC `risk`. Knows nothing of where a confidence comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lorag.pipeline.errors import InputError


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """If all answers with at least `confidence` are given: their share of all questions, and the wrong ones' share of them."""

    confidence: float
    coverage: float
    risk: float


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Of `answered` of `questions`: `risk` if all are given, and the areas. `points` are by falling confidence, one a value."""

    configuration: str
    confidence: str
    questions: int
    answered: int
    risk: float
    aurc: float
    excess: float
    points: tuple[CurvePoint, ...]


def risk_coverage(
    configuration: str, confidence: str, confidences: Sequence[float], wrong: Sequence[bool], silent: int = 0
) -> RiskCoverage:
    """The curve over answers with these confidences, of which `wrong` are; `silent` questions got no answer at all.

    Answers with the same confidence count as in random order: the mean over all their orders. Raises InputError without answers,
    or for lists of different length.
    """
    if not confidences or len(confidences) != len(wrong):
        raise InputError(f"{len(confidences)} confidences and {len(wrong)} answers; a curve needs one confidence an answer")
    pairs = sorted(zip(confidences, wrong, strict=True), key=lambda pair: -pair[0])
    given, errors, area = 0, 0, 0.0
    points = []
    for value, tied in groupby(pairs, key=lambda pair: pair[0]):
        outcomes = [is_wrong for _, is_wrong in tied]
        rate = sum(outcomes) / len(outcomes)
        area += sum((errors + rate * step) / (given + step) for step in range(1, len(outcomes) + 1))
        given, errors = given + len(outcomes), errors + sum(outcomes)
        points.append(CurvePoint(value, given / (len(pairs) + silent), errors / given))
    n = len(pairs)
    best = sum(max(0, errors - (n - k)) / k for k in range(1, n + 1)) / n
    return RiskCoverage(configuration, confidence, n + silent, n, errors / n, area / n, area / n - best, tuple(points))
