"""Refusals of one system as a detector of questions that its passages do not answer: precision, recall and F1.

A refusal is right if no gold passage was shown, since the reader could not answer; `answers` decides it item by item. The rows
tell the questions apart by what was shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.evaluation.answers import GoldAnswer, gold_shown
from lorag.pipeline.evaluation.scores import ScoreTable
from lorag.pipeline.records import Outcome, Response

SHOWN, NOT_SHOWN, NO_ANSWER = "gold shown", "gold not shown", "no document answers"


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """The questions of one kind: how many, how many were refused, and how many were answered rightly."""

    kind: str
    n: int
    refused: int
    right: int


@dataclass(frozen=True, slots=True)
class RefusalScores:
    """`precision`: the share of refusals that are right. `recall`: the share of questions without a shown gold passage that were
    refused; one that was answered rightly all the same is left out. None if there is nothing to divide by."""

    configuration: str
    rows: tuple[RefusalRow, ...]
    precision: float | None
    recall: float | None
    f1: float | None

    @property
    def floor(self) -> float | None:
        """F1 of refusing every one of these questions: precision is the share without a shown gold passage, recall 1."""
        total, wanted = sum(row.n for row in self.rows), sum(row.n for row in self.rows if row.kind != SHOWN)
        return 2 * wanted / (total + wanted) if total else None


def refusal_scores(
    configuration: str, golds: Sequence[GoldAnswer], responses: Mapping[str, Response], answers: ScoreTable
) -> RefusalScores:
    """The refusals of `responses`, whose scores are `answers`. Failed answers are left out."""
    rights = answers.values("right answers")
    counts = {kind: [0, 0, 0] for kind in (SHOWN, NOT_SHOWN, NO_ANSWER)}
    for gold in golds:
        response = responses[gold.id]
        if response.answer.outcome is Outcome.FAILED:
            continue
        counted = counts[_kind(gold, response)]
        for at, value in enumerate((1, response.answer.refused, rights.get(gold.id, 0.0))):
            counted[at] += int(value)
    rows = tuple(RefusalRow(kind, *values) for kind, values in counts.items())
    refused = sum(row.refused for row in rows)
    hits = sum(row.refused for row in rows if row.kind != SHOWN)
    wanted = sum(row.n - row.right for row in rows if row.kind != SHOWN)
    f1 = 2 * hits / (refused + wanted) if refused + wanted else None
    return RefusalScores(configuration, rows, hits / refused if refused else None, hits / wanted if wanted else None, f1)


def _kind(gold: GoldAnswer, response: Response) -> str:
    if not gold.answerable:
        return NO_ANSWER
    return SHOWN if gold_shown(gold, (hit.passage.id for hit in response.trace.hits)) else NOT_SHOWN
