"""Finds the stage that lost a question: the first one after which the right answer was impossible.

It is a deterministic rule on the scores and the trace. Each question has exactly one `Loss`, so counts add up to all questions.
It knows no model and no report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lorag.pipeline.evaluation.ablation import ChainItem, Measured, Search
from lorag.pipeline.evaluation.answers import F1, RIGHT, RIGHT_REFUSALS, GoldAnswer, gold_shown
from lorag.pipeline.evaluation.entities import entity_recall
from lorag.pipeline.records import Outcome, Response

WORST = 50


class Loss(StrEnum):
    """The result of a question, by the stage that lost it, in the order of the chain; `RIGHT` if none did."""

    FAILED = "no answer came back"
    REWRITE = "rewrite missed the entity"
    RETRIEVAL = "gold not retrieved"
    REFUSED = "wrong refusal"
    UNUSED = "retrieved, not used"
    MISREAD = "cited, but answer wrong"
    UNSUPPORTED = "right words, unsupported"
    UNREFUSED = "answered the unanswerable"
    RIGHT = "right"


DEFINITIONS: Mapping[Loss, str] = {
    Loss.FAILED: "A stage failed, and there is no reply to look at.",
    Loss.REWRITE: "No gold passage was among those shown to the synthesizer, and the rewrite lacks a name, code or number that "
    "the gold rewrite adds to the question.",
    Loss.RETRIEVAL: "No gold passage was among those shown to the synthesizer, and no entity was missing from the rewrite.",
    Loss.REFUSED: "A gold passage was shown, the question can be answered, and the answer is a refusal.",
    Loss.UNUSED: "A gold passage was shown; the answer cites none of them, and is not right.",
    Loss.MISREAD: "The answer cites a gold passage, and is not right.",
    Loss.UNSUPPORTED: "The answer is right, and no gold passage is cited.",
    Loss.UNREFUSED: "No document answers the question, and it was answered.",
    Loss.RIGHT: "The answer is right (F1 with numbers as quantities is 0.5 or more, and no quantity contradicts the gold answer; "
    "in a conversation: every vital nugget, within 100 characters for each nugget held) and cites a gold passage (if those are "
    "known), or an unanswerable question was refused.",
}
"""The definition of each loss; a question has the first that holds, in this order."""


@dataclass(frozen=True, slots=True)
class LostPair:
    """One question in two systems, with its `question_score` in each."""

    id: str
    base: Loss
    tuned: Loss
    base_score: float
    tuned_score: float


def lost_at(gold: GoldAnswer, response: Response, values: Mapping[str, float], recall: float | None = None) -> Loss:
    """The question's loss by `DEFINITIONS`.

    `values` are the item's answer scores, `recall` the entity recall of its rewrite (None if the rewrite had no entity to add).
    """
    if response.answer.outcome is Outcome.FAILED:
        return Loss.FAILED
    if not gold.answerable:
        return Loss.RIGHT if response.answer.refused else Loss.UNREFUSED
    gold_ids = set(gold.passage_ids)
    cited = not gold_ids or any(citation.passage_id in gold_ids for citation in response.answer.citations)
    if values[RIGHT]:
        return Loss.RIGHT if cited else Loss.UNSUPPORTED
    if not gold_shown(gold, (hit.passage.id for hit in response.trace.hits)):
        return _not_found(recall)
    if response.answer.refused:
        return Loss.REFUSED
    return Loss.MISREAD if cited else Loss.UNUSED


def search_lost_at(gold: GoldAnswer, search: Search, recall: float | None = None) -> Loss:
    """As `lost_at` for a question that is only searched: `RIGHT` means that a gold passage was found."""
    if search.rewrite.outcome is Outcome.FAILED:
        return Loss.FAILED
    found = any(hit.passage.id in gold.passage_ids for hit in search.hits)
    return Loss.RIGHT if found else _not_found(recall)


def losses_of(items: Sequence[ChainItem], measured: Measured) -> dict[str, Loss]:
    """One configuration's loss of each question of its test set, by id."""
    values = {each.id: each.values for each in measured.answers.items}
    found = {}
    for item in items:
        id_, search = item.gold.id, measured.searches[item.gold.id]
        recall = entity_recall(item.query.question, search.rewrite.question, item.gold_rewrite) if item.gold_rewrite else None
        if item.answered:
            found[id_] = lost_at(item.gold, measured.responses[id_], values[id_], recall)
        else:
            found[id_] = search_lost_at(item.gold, search, recall)
    return found


def question_score(values: Mapping[str, float], loss: Loss) -> float:
    """One figure a question: F1, for a sentence whether it is right, a right refusal, or if it is only searched whether gold was
    found."""
    return next((values[name] for name in (F1, RIGHT, RIGHT_REFUSALS) if name in values), float(loss is Loss.RIGHT))


def waterfall(losses: Iterable[Loss]) -> dict[Loss, int]:
    """The number of questions that each stage lost, in the order of the chain, and of right ones; every `Loss` has a count."""
    counts = Counter(losses)
    return {loss: counts[loss] for loss in Loss}


def worst(pairs: Sequence[LostPair], count: int = WORST) -> tuple[str, ...]:
    """The ids of the tuned system's worst questions, at most `count`, worst first.

    Failed questions come first, then those with the lowest score. Ties: first those with a better base score, then those lost
    at an earlier stage.
    """
    order = {loss: at for at, loss in enumerate(Loss)}
    lost = [pair for pair in pairs if pair.tuned is not Loss.RIGHT]
    ranked = sorted(
        lost,
        key=lambda pair: (
            pair.tuned is not Loss.FAILED,
            pair.tuned_score,
            pair.base is not Loss.RIGHT,
            pair.tuned_score - pair.base_score,
            order[pair.tuned],
        ),
    )
    return tuple(pair.id for pair in ranked[:count])


def _not_found(recall: float | None) -> Loss:
    return Loss.REWRITE if recall is not None and recall < 1 else Loss.RETRIEVAL
