"""The replies that the public reading sets give: question and the text shown → the right reply, empty if the text lacks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.starter_training.sources import SourceQuestion
from lorag.pipeline.retrieval.sentences import sentences

Answer = Callable[[SourceQuestion, str], str]
"""Question and the text shown of its passage → the target reply, empty if that text does not hold it."""


def extract(question: SourceQuestion, text: str) -> str:
    """The answer that occurs verbatim in `text` and agrees most with the others, by shared words; the shortest of equals."""
    found = [answer for answer in dict.fromkeys(question.answers) if answer.strip() and answer in text]
    if not found:
        return ""
    words = [set(answer.casefold().split()) for answer in question.answers]

    def agreement(answer: str) -> float:
        own = set(answer.casefold().split())
        return sum(len(own & other) / max(len(own | other), 1) for other in words)

    return max(found, key=lambda answer: (round(agreement(answer), 6), -len(answer)))


def decide(question: SourceQuestion, text: str) -> str:
    """yes, no or maybe, if the set has that label."""
    return question.label


def first_sentence(question: SourceQuestion, text: str) -> str:
    """The first sentence of the answer, if it occurs in `text` and has a usable length."""
    answer = question.answers[0]
    start, end = next(iter(sentences(answer)), (0, 0))
    sentence = answer[start:end]
    return sentence if 30 <= len(sentence) <= 180 and sentence in text else ""


ANSWERS: Mapping[str, Answer] = {"pubmedqa": decide, "medquad": first_sentence}
"""Sets whose reply is not an extract."""


def reply_of(name: str) -> Answer:
    """The rule of a set's replies."""
    return ANSWERS.get(name, extract)
