"""Scores rewritten questions against gold rewrites.

An unparsed rewrite is scored on the raw question, which the chain uses then, and counted as unparsed. A failed one has no value
and is listed. `rewrite_retrieval` measures the effect on retrieval.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable, require_unique
from lorag.pipeline.evaluation.text import exact_match, normalize_answer, rouge_f1, word_order
from lorag.pipeline.records import Outcome, Rewrite

EM = "EM"
ROUGE_1 = "ROUGE-1"
ENTITY_RECALL = "entity recall"
WORD_ORDER = "rewrite word order"
HARM = "harm on standalone turns"

_TOKEN = re.compile(r"\w+(?:[-./'’&]\w+)*")
_POSSESSIVE = re.compile(r"['’]s$")
_SENTENCE_END = re.compile(r"[.?!:]\s*[\"'“‘(]*$")


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


def score_rewrites(golds: Sequence[GoldRewrite], rewrites: Mapping[str, Rewrite]) -> ScoreTable:
    """Score `rewrites[gold.id]` for each gold, the best over its human rewrites.

    Every turn has `EM` (normalised) and `ROUGE-1` (F-measure), and `rewrite word order` if it shares a word. It has `entity
    recall` if the gold rewrite names entities that the raw question does not. Standalone turns have `harm on standalone turns`: 1
    if the question was changed. Raises InputError for a repeated id, a turn without a rewrite record or without a gold rewrite.
    """
    require_unique(tuple(gold.id for gold in golds), "turn")
    return ScoreTable(tuple(_score(gold, rewrites) for gold in golds))


def named_entities(text: str) -> set[str]:
    """Case-folded words that look like names, codes or numbers.

    A word counts if it has a digit, two or more capitals, or one capital and is not the first of a sentence. A possessive
    ending is cut. A rule, not a model: the same on every machine, but it misses entities in lower case.
    """
    found: set[str] = set()
    for match in _TOKEN.finditer(text):
        word = _POSSESSIVE.sub("", match.group())
        capitals = sum(letter.isupper() for letter in word)
        before = text[: match.start()].strip(" \"'“‘(")
        opens = not before or _SENTENCE_END.search(before) is not None
        if any(letter.isdigit() for letter in word) or capitals > 1 or (word[:1].isupper() and not opens):
            found.add(word.casefold())
    return found


def entity_recall(question: str, rewrite: str, gold: str) -> float | None:
    """Share of the gold rewrite's entities missing from the raw question that the rewrite has; None if there are none."""
    missing = named_entities(gold) - _words(question)
    return len(missing & _words(rewrite)) / len(missing) if missing else None


def _score(gold: GoldRewrite, rewrites: Mapping[str, Rewrite]) -> ItemScores:
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
        recalls = [entity_recall(gold.question, text, each) for each in gold.rewrites]
        if known := [recall for recall in recalls if recall is not None]:
            values[ENTITY_RECALL] = max(known)
        if gold.standalone:
            values[HARM] = float(normalize_answer(text) != normalize_answer(gold.question))
    return ItemScores(gold.id, gold.group or gold.id, rewrite.outcome, values)


def _words(text: str) -> set[str]:
    return {_POSSESSIVE.sub("", match.group()).casefold() for match in _TOKEN.finditer(text)}
