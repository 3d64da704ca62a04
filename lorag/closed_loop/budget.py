"""Time for the stages of the closed loop: each gets its share of what is left, so a slow stage takes from all that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lorag.evaluating.testset import Sizes

MAKE, INDEX, EVALUATE = "rows", "index", "evaluate"

SHARES: Mapping[str, float] = MappingProxyType(
    {MAKE: 0.35, "embedder": 0.08, "rewriter": 0.1, "synthesizer": 0.2, "judge": 0.08, EVALUATE: 0.16, INDEX: 0.03}
)
"""Each stage's part of the time. They need not add up: the parts of stages that are left out go to the others."""

LEAST_ROWS = 32
LEAST_QUESTIONS = 24
"""Fewer test questions than these are in too few groups of documents for a verdict."""

REQUESTS_A_QUESTION = 9.0
"""Answers that an evaluation asks for a test question, with the turns and judgments that go with it. Configurations share what
they have in common."""


def share_of(stage: str, stages: Sequence[str], limit: float, spent: float) -> float:
    """Seconds for `stage`, the first of the `stages` that are left, of a `limit` of which `spent` are gone."""
    left = max(0.0, limit - spent)
    return left * SHARES[stage] / sum(SHARES[each] for each in stages)


def rows_within(seconds: float, estimate: float, rows: int) -> int:
    """How many of `rows`, whose training is estimated at `estimate` seconds, fit into `seconds`; 0 means all."""
    if estimate <= seconds:
        return 0
    return min(rows, max(LEAST_ROWS, int(rows * seconds / estimate)))


def questions_within(seconds: float, seconds_an_answer: float) -> int:
    """The test questions, each with its turns and judgments, that an evaluation can answer in `seconds`."""
    return max(LEAST_QUESTIONS, int(seconds / (REQUESTS_A_QUESTION * max(seconds_an_answer, 1e-3))))


def sizes_of(questions: int, seed: int = 0) -> Sizes:
    """The items of an evaluation with so many questions."""
    return Sizes(questions, questions // 4, questions, max(8, questions // 2), seed)
