"""Chooses the weights of a search on questions with known passages. Knows no index: the caller measures each choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.significance import standard_error
from lorag.pipeline.retrieval.weights import SearchWeights

GRID = (
    SearchWeights(),
    SearchWeights(document=0.0),
    *(SearchWeights(words, vectors, 1.0) for words, vectors in ((0.1, 0.1), (0.1, 0.25), (0.2, 0.25), (0.4, 0.25), (0.4, 1.0))),
    *(SearchWeights(words, 0.25, 1.0) for words in (1.0, 3.0)),
    SearchWeights(0.0, 0.25, 1.0),
    *(SearchWeights(words, vectors, 0.0) for words, vectors in ((1.0, 2.0), (1.0, 1.0), (2.0, 1.0), (1.0, 0.0), (0.0, 1.0))),
)
"""The weights that are tried, the default first: mixes, and each of words and vectors alone."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One choice of weights, the mean score, and its paired difference to the default's with the standard error by groups."""

    weights: SearchWeights
    mean: float
    difference: float
    error: float

    def to_dict(self) -> dict[str, Any]:
        return {**self.weights.to_dict(), "mean": self.mean, "difference": self.difference, "error": self.error}


@dataclass(frozen=True, slots=True)
class ChosenWeights:
    """The choice, and all that was tried, the default first. `groups` counts independent groups of the `questions`."""

    weights: SearchWeights
    tried: tuple[Tried, ...]
    questions: int
    groups: int


def choose_weights(measured: Mapping[SearchWeights, Sequence[float]], groups: Sequence[str]) -> ChosenWeights:
    """The weights with the best mean score; the default, the first of `measured`, if none is better, or if the questions are of
    a single group.

    `measured` has the score of each question with each choice of weights; higher is better. A choice is not a claim, so it need
    not be clear of chance: the best mean is the best guess. Its standard error is reported. `groups` names the group of each
    question: questions about one document depend on each other. Raises InputError without a question.
    """
    if not groups:
        raise InputError("no question to choose search weights on; give questions with their passages")
    tried: list[Tried] = []
    default: NDArray[np.float64] | None = None
    for weights, found in measured.items():
        scores = np.asarray(found, dtype=np.float64)
        default = scores if default is None else default
        apart = scores - default
        error = standard_error(apart.tolist(), groups=groups) if len(set(groups)) > 1 else math.inf
        tried.append(Tried(weights, float(scores.mean()), float(apart.mean()), error))
    best = max(tried, key=lambda each: each.mean)
    chosen = best if best.difference > 0 and math.isfinite(best.error) else tried[0]
    return ChosenWeights(chosen.weights, tuple(tried), len(groups), len(set(groups)))
