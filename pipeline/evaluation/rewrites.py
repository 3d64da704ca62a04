"""Scores rewritten questions against gold rewrites.

An unparsed rewrite is scored on the raw question, which the chain uses then, and counted as unparsed. A failed one has no value
and is listed. `rewrite_retrieval` measures the effect on retrieval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.entities import entity_recall, invents, kept_share, shared_values, values_of
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable, require_unique
from lorag.pipeline.evaluation.text import exact_match, normalize_answer, rouge_f1, word_order
from lorag.pipeline.records import Outcome, Rewrite

EM = "EM"
ROUGE_1 = "ROUGE-1"
ENTITY_RECALL = "entity recall"
WORD_ORDER = "rewrite word order"
HARM = "harm on standalone turns"
KEPT = "values kept in rewrites"
KEPT_OF_QUESTION = "values kept of questions"
INVENTED = "values invented in rewrites"


@dataclass(frozen=True, slots=True)
class GoldRewrite:
    """A test turn: the raw `question` and its equally right human `rewrites`. `group` is its conversation."""

    id: str
    question: str
    rewrites: tuple[str, ...]
    group: str = ""

    @property
    def standalone(self) -> bool:
        """Whether a gold rewrite equals the question (apart from case, punctuation and articles)."""
        return exact_match(self.question, self.rewrites) == 1.0


def score_rewrites(
    golds: Sequence[GoldRewrite], rewrites: Mapping[str, Rewrite], conversations: Mapping[str, str] = MappingProxyType({})
) -> ScoreTable:
    """Score `rewrites[gold.id]` for each gold, the best over its human rewrites. `conversations` are the turns before, by id.

    Every turn has `EM` (normalised) and `ROUGE-1` (F-measure), and `rewrite word order` if it shares a word. It has `entity
    recall` if the gold rewrite names entities that the raw question does not. Standalone turns have `harm on standalone turns`: 1
    if the question was changed.

    Values are quantities, codes and names (`entities`). `values kept in rewrites` is the share of the gold rewrite's, `values
    kept of questions` that of those which the question has itself, so the unchanged question keeps them all. `values invented in
    rewrites` is 1 if the rewrite has one that neither conversation, question nor gold rewrite has.

    Raises InputError for a repeated id, a turn without a rewrite record or without a gold rewrite.
    """
    require_unique(tuple(gold.id for gold in golds), "turn")
    return ScoreTable(tuple(_score(gold, rewrites, conversations.get(gold.id, "")) for gold in golds))


def _score(gold: GoldRewrite, rewrites: Mapping[str, Rewrite], conversation: str) -> ItemScores:
    if gold.id not in rewrites:
        raise InputError(f"turn {gold.id!r} has no rewrite record; a failed one must be recorded as failed")
    if not gold.rewrites:
        raise InputError(f"turn {gold.id!r} has no gold rewrite")
    rewrite = rewrites[gold.id]
    values: dict[str, float] = {}
    if rewrite.outcome is not Outcome.FAILED:
        text = rewrite.question
        values = {EM: exact_match(text, gold.rewrites), ROUGE_1: rouge_f1("rouge1", text, gold.rewrites)}
        if (order := word_order(text, gold.rewrites)) is not None:
            values[WORD_ORDER] = order
        values |= _value_scores(gold, text, conversation)
        if gold.standalone:
            values[HARM] = float(normalize_answer(text) != normalize_answer(gold.question))
    return ItemScores(gold.id, gold.group or gold.id, rewrite.outcome, values)


def _value_scores(gold: GoldRewrite, text: str, conversation: str) -> dict[str, float]:
    shares = {
        ENTITY_RECALL: [entity_recall(gold.question, text, each) for each in gold.rewrites],
        KEPT: [kept_share(values_of(each), text) for each in gold.rewrites],
        KEPT_OF_QUESTION: [kept_share(shared_values(each, gold.question), text) for each in gold.rewrites],
    }
    best = {name: max(known) for name, each in shares.items() if (known := [share for share in each if share is not None])}
    return best | {INVENTED: float(invents(text, (conversation, gold.question, *gold.rewrites)))}
