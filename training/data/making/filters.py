"""The filters that need nothing but the texts: form, leak and copy. Each returns why a question is dropped, '' if it passes."""

from __future__ import annotations

import re

from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.evaluation.text import normalize_answer
from lorag.pipeline.retrieval.sentences import sentences
from lorag.training.data.making.records import Candidate
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.words import asking_words, content_words, share_in
from lorag.training.data.rows import PassageRow

_DEICTIC = re.compile(
    r"\b(?:(?:this|the|that|above|following|given|provided) (?:passage|text|paragraph|excerpt|article|document|sentence|context"
    r"|table|answer)|according to (?:it|this|the (?:passage|text|document|table))|mentioned (?:above|here|in the)|span)\b",
    re.I,
)
_SPECIAL = re.compile(r"<\|?[\w/]+\|?>|\[/?[A-Z]{2,}\]|\ufffd")
_SHORT = 8
"""Words up to which an answer is short: a longer one shares its subject with its question, and `copied` bounds that."""


def form(candidate: Candidate, settings: MakingSettings) -> str:
    """A question of the right length that names what it is about and holds nothing of the prompt's or the model's own."""
    question, terse = candidate.question, candidate.order.manner is Manner.TERSE
    words = len(question.split())
    least = settings.min_terse_words if terse else settings.min_words
    if not least <= words <= settings.max_words:
        return f"{words} words, not {least} to {settings.max_words}"
    if found := _DEICTIC.search(question):
        return f"speaks of “{found.group()}”"
    if found := _SPECIAL.search(question):
        return f"holds the special token {found.group()!r}"
    if not content_words(question):
        return "has no content word"
    return "" if _moves_on(question) else "says the same twice"


def _moves_on(question: str) -> bool:
    """Whether the question does not repeat itself, as small models do."""
    words = normalize_answer(question).split()
    return not any(words[at : at + 4] == words[at + 4 : at + 8] for at in range(max(0, len(words) - 7)))


def leak(candidate: Candidate, settings: MakingSettings) -> str:
    """The answer does not stand in the question, nor do `leaked` of a short answer's content words."""
    answer, question = normalize_answer(candidate.span.text), normalize_answer(candidate.question)
    if answer and f" {answer} " in f" {question} ":
        return "holds the answer"
    if len(answer.split()) > _SHORT:
        return ""
    share = share_in(content_words(candidate.span.text), content_words(candidate.question))
    return f"holds {share:.0%} of the answer's words" if share >= settings.leaked else ""


def unfounded(candidate: Candidate, passage: PassageRow, settings: MakingSettings) -> str:
    """At most `unfounded` of the question's content words stand neither in the passage nor in its title.

    Words by which people ask do not count. A small model that brings in things of its own asks about what is not there.
    """
    asked = content_words(candidate.question) - asking_words()
    share = 1 - share_in(asked, content_words(f"{passage.title} {passage.text}")) if asked else 0.0
    return f"{share:.0%} of its words stand neither in passage nor title" if share > settings.unfounded else ""


def copy(candidate: Candidate, passage: PassageRow, settings: MakingSettings) -> str:
    """At most `copied` of the question's content words stand in the answer's sentence, without those of the passage's title.

    The title's words are needed to say what is asked about, so they are no copy.
    """
    asked = content_words(candidate.question) - content_words(passage.title)
    sentence = content_words(sentence_of(passage.text, candidate.span.start, candidate.span.end))
    share = share_in(asked, sentence)
    return f"{share:.0%} of its words stand in the answer's sentence" if share > settings.copied else ""


def sentence_of(text: str, start: int, end: int) -> str:
    """The sentences of `text` that `start:end` lies in, as they stand there."""
    touched = [(low, high) for low, high in sentences(text) if low < end and start < high]
    return text[touched[0][0] : touched[-1][1]] if touched else text[start:end]
