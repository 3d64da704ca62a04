"""Whether an answer stands in the passages that it cites, sentence by sentence, by words alone: no model, the same every time.

A sentence is supported by a cited passage that holds it word for word, or that holds nearly all of its words and every number,
name and code in it. The rule does not understand: a sentence turned into its opposite by one `not` passes, and one said in other
words fails. A judge sees those (`judged_support`); this sees what a judge that was trained badly cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lorag.pipeline.evaluation.rewrites import named_entities
from lorag.pipeline.evaluation.text import normalize_answer
from lorag.pipeline.records import Answer, Outcome
from lorag.pipeline.retrieval.sentences import sentences

CONTAINED = 0.8
"""Share of a sentence's words that its passage must hold."""


def is_supported(answer: Answer, passages: Mapping[str, str]) -> bool | None:
    """Whether every sentence of `answer` is supported by one of the passages it cites (`passages`: id → title and text).

    None where nothing is claimed: a refusal, a failed answer, an empty one. An answer without citations is not supported.
    """
    if answer.refused or answer.outcome is Outcome.FAILED or not answer.text.strip():
        return None
    cited = [passages[each.passage_id] for each in answer.citations if each.passage_id in passages]
    return bool(cited) and not unsupported(answer.text, cited)


def unsupported(text: str, passages: Sequence[str]) -> list[str]:
    """The sentences of `text` that none of `passages` supports."""
    held = [(f" {normalize_answer(passage)} ", passage.casefold()) for passage in passages]
    told = [text[start:end] for start, end in sentences(text)]
    return [sentence for sentence in told if not any(_supports(words, plain, sentence) for words, plain in held)]


def _supports(words: str, plain: str, sentence: str) -> bool:
    wanted = normalize_answer(sentence)
    if not wanted or f" {wanted} " in words:
        return True
    tokens, there = wanted.split(), set(words.split())
    contained = sum(token in there for token in tokens) / len(tokens)
    return contained >= CONTAINED and all(name in plain for name in named_entities(sentence))
