"""Says which stage lost a question: the first point in the chain after which the right answer could not come.

A rule over the scores and the trace, not a judgment: the same every time. It knows no model and no report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

from pipeline.evaluation.answers import F1, GoldAnswer
from pipeline.records import Outcome, Response

GOOD_F1 = 0.5


class Loss(StrEnum):
    """What became of a question, in the order of the chain; `RIGHT` is what is left."""

    FAILED = "no answer came back"
    REWRITE = "rewrite missed the entity"
    RETRIEVAL = "gold not retrieved"
    REFUSED = "wrong refusal"
    UNUSED = "retrieved, not used"
    MISREAD = "cited, but answer wrong"
    UNSUPPORTED = "right words, unsupported"
    UNREFUSED = "answered the unanswerable"
    RIGHT = "right"


def lost_at(gold: GoldAnswer, response: Response, values: Mapping[str, float], entity_recall: float | None = None) -> Loss:
    """Where the question was lost. An answer is right from token F1 0.5 on, if it cites a gold passage where those are known.

    `values` are the item's answer scores, `entity_recall` its rewrite's (None where no entity was to be added).
    """
    if response.answer.outcome is Outcome.FAILED:
        return Loss.FAILED
    if not gold.answerable:
        return Loss.RIGHT if response.answer.refused else Loss.UNREFUSED
    wanted = set(gold.passage_ids)
    cited = not wanted or any(citation.passage_id in wanted for citation in response.answer.citations)
    if values[F1] >= GOOD_F1:
        return Loss.RIGHT if cited else Loss.UNSUPPORTED
    if wanted and not any(hit.passage.id in wanted for hit in response.trace.hits):
        return Loss.REWRITE if entity_recall is not None and entity_recall < 1 else Loss.RETRIEVAL
    if response.answer.refused:
        return Loss.REFUSED
    return Loss.MISREAD if cited else Loss.UNUSED


def waterfall(losses: Iterable[Loss]) -> dict[Loss, int]:
    """How many questions each stage lost, in the order of the chain, and how many came through; every `Loss` has a count."""
    counts = Counter(losses)
    return {loss: counts[loss] for loss in Loss}
