"""Form, leak, what is unfounded, and copy, each with questions that pass beside those that do not."""

from __future__ import annotations

import pytest

from lorag.pipeline.contracts.question import Manner
from lorag.training.data.making.filters import copy, form, leak, sentence_of, unfounded
from lorag.training.data.making.settings import MakingSettings
from tests.training.data.making.made import candidate, passage, span

SETTINGS = MakingSettings()
POOL = passage(
    "pool.md#1", "The pool is emptied every March. It holds 440 m³ of sea water. Elke Dray keeps the key.", "Town pool"
)


@pytest.mark.parametrize(
    ("question", "manner", "reason"),
    [
        ("How much water does the pool hold?", Manner.FULL, ""),
        ("How much water?", Manner.FULL, "3 words, not 4 to 30"),
        ("pool water volume", Manner.TERSE, ""),
        ("pool volume", Manner.TERSE, "2 words, not 3 to 30"),
        ("How much " + "very " * 30 + "salt?", Manner.FULL, "33 words, not 4 to 30"),
        ("What volume of water does this passage name?", Manner.FULL, "speaks of “this passage”"),
        ("What is it that <|im_end|> holds?", Manner.FULL, "holds the special token '<|im_end|>'"),
        ("What is it that he did?", Manner.FULL, "has no content word"),
        ("How long is the ramp how long is the ramp?", Manner.FULL, "says the same twice"),
    ],
)
def test_form(question: str, manner: Manner, reason: str) -> None:
    assert form(candidate(span(POOL, "440 m³"), question, manner), SETTINGS) == reason


@pytest.mark.parametrize(
    ("answer", "question", "reason"),
    [
        ("440 m³", "How much water does the pool hold?", ""),
        ("440 m³", "What holds 440 m³ of water?", "holds the answer"),
        ("Elke Dray", "What does Dray keep in her office?", "holds 50% of the answer's words"),
        ("Elke Dray", "Who keeps the key?", ""),
        (
            "The pool is emptied every March.",
            "When is the pool emptied?",
            "holds 50% of the answer's words",
        ),  # pool, emptied of four with every, March
    ],
)
def test_leak(answer: str, question: str, reason: str) -> None:
    assert leak(candidate(span(POOL, answer), question), SETTINGS) == reason


def test_the_words_of_a_long_answer_may_stand_in_the_question() -> None:
    long = passage("p.md#1", "The pool is emptied and scrubbed every March by two people from the harbour office.")
    asked = candidate(span(long, long.text), "When is the pool emptied and scrubbed by people?")
    assert leak(asked, SETTINGS) == ""


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("How large is the basin of the town's pool?", ""),  # large, basin: none of the sentence's; town, pool: the title's
        ("How much sea water does it hold?", "75% of its words stand in the answer's sentence"),  # not: much
    ],
)
def test_copy(question: str, reason: str) -> None:
    assert copy(candidate(span(POOL, "440 m³"), question), POOL, SETTINGS) == reason


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("How much sea water does the town pool hold?", ""),
        ("What is the largest amount of water allowed in the pool?", ""),  # largest, amount, allowed: words by which people ask
        ("How much water does the pool of the old windmill hold?", "33% of its words stand neither in passage nor title"),
        ("How deep is the harbour's diving tower?", "100% of its words stand neither in passage nor title"),
        ("How much is it?", ""),
    ],
)
def test_unfounded(question: str, reason: str) -> None:
    assert unfounded(candidate(span(POOL, "440 m³"), question), POOL, SETTINGS) == reason


def test_the_sentence_of_a_span() -> None:
    start = POOL.text.index("440")
    assert sentence_of(POOL.text, start, start + 3) == "It holds 440 m³ of sea water."
