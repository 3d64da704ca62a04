"""Checks whether the cited passages support an answer, sentence by sentence, by words alone: deterministic, without a model.

A sentence is supported by a cited passage that has nearly all of its words, every name and code as whole words, and every number
as a quantity (`quantity_match`): "48 seconds" is not in "148 seconds", nor "5 °C" in "-5 °C". The rule has no understanding: a
sentence negated by one `not` passes, and a paraphrase fails. A judge detects those (`judged_support`); this rule does not depend
on a judge's quality.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from lorag.pipeline.evaluation.entities import named_entities
from lorag.pipeline.evaluation.quantities import PLACE, Reading, read_quantities
from lorag.pipeline.evaluation.quantity import NUMBER
from lorag.pipeline.evaluation.quantity_match import states
from lorag.pipeline.evaluation.text import normalize_answer
from lorag.pipeline.records import Answer, Outcome, Passage
from lorag.pipeline.retrieval.sentences import sentences

CONTAINED = 0.8
"""Share of a sentence's words that its passage must contain."""


def is_supported(answer: Answer, passages: Mapping[str, str]) -> bool | None:
    """Whether every sentence of `answer` is supported by one of the passages it cites (`passages`: id → title and text).

    None if there is no claim: for a refusal, a failed or an empty answer. An answer without citations is not supported.
    """
    if answer.refused or answer.outcome is Outcome.FAILED or not answer.text.strip():
        return None
    cited = [passages[each.passage_id] for each in answer.citations if each.passage_id in passages]
    return bool(cited) and not unsupported(answer.text, cited)


def words_of(passage: Passage) -> str:
    """All of a passage that may support a statement."""
    return f"{passage.title} {passage.section} {passage.text}"


def unsupported(text: str, passages: Sequence[str]) -> list[str]:
    """The sentences of `text` that none of `passages` supports."""
    claims = [text[start:end] for start, end in sentences(text)]
    return [sentence for sentence in claims if not any(supports(passage, sentence) for passage in passages)]


def supports(passage: str, sentence: str) -> bool:
    """Whether `passage` supports one sentence, by the rule above. A sentence without words and numbers claims nothing."""
    claim = read_quantities(sentence)
    tokens = normalize_answer(claim.rest.replace(PLACE, " ")).split()
    stated, words, plain = _read(passage)
    if not all(states(stated, quantity) for quantity in claim.quantities):
        return False
    numbers = sum(1 if each.kind == NUMBER else 2 for each in claim.quantities)  # a unit is a word of its own
    if sum(token in words for token in tokens) + numbers < CONTAINED * (len(tokens) + numbers):
        return False
    return all(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", plain) for name in named_entities(claim.rest))


@lru_cache(maxsize=1024)
def _read(passage: str) -> tuple[Reading, frozenset[str], str]:
    reading = read_quantities(passage)
    return reading, frozenset(normalize_answer(passage).split()), passage.casefold()
