"""Checks whether the cited passages support an answer, sentence by sentence, by words alone: deterministic, without a model.

A sentence is supported by a cited passage that contains it verbatim. So is one with nearly all of its words and every number,
name and code in the passage. The rule has no understanding: a sentence negated by one `not` passes, and a paraphrase fails. A
judge detects those (`judged_support`); this rule does not depend on a judge's quality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lorag.pipeline.evaluation.rewrites import named_entities
from lorag.pipeline.evaluation.text import normalize_answer
from lorag.pipeline.records import Answer, Outcome
from lorag.pipeline.retrieval.sentences import sentences

CONTAINED = 0.8
"""Share of a sentence's words that its passage must contain."""


def is_supported(answer: Answer, passages: Mapping[str, str]) -> bool | None:
    """Whether every sentence of `answer` is supported by one of the passages it cites (`passages`: id → title and text).

    None if passage_words is no claim: for a refusal, a failed or an empty answer. An answer without citations is not supported.
    """
    if answer.refused or answer.outcome is Outcome.FAILED or not answer.text.strip():
        return None
    cited = [passages[each.passage_id] for each in answer.citations if each.passage_id in passages]
    return bool(cited) and not unsupported(answer.text, cited)


def unsupported(text: str, passages: Sequence[str]) -> list[str]:
    """The sentences of `text` that none of `passages` supports."""
    normalised = [(f" {normalize_answer(passage)} ", passage.casefold()) for passage in passages]
    claims = [text[start:end] for start, end in sentences(text)]
    return [sentence for sentence in claims if not any(_supports(words, plain, sentence) for words, plain in normalised)]


def _supports(words: str, plain: str, sentence: str) -> bool:
    normalised_sentence = normalize_answer(sentence)
    if not normalised_sentence or f" {normalised_sentence} " in words:
        return True
    tokens, passage_words = normalised_sentence.split(), set(words.split())
    contained = sum(token in passage_words for token in tokens) / len(tokens)
    return contained >= CONTAINED and all(name in plain for name in named_entities(sentence))
