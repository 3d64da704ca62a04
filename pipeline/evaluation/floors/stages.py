"""Stages without a model, with the contract of those they stand for: a chain is made of them as of the others.

`Unchanged` and `HistoryFirst` stand for the rewriter, `BestSentence` and `AlwaysRefusing` for the synthesizer. The search by
words is the chain's own retriever on a `WordSearcher`.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence

from lorag.pipeline.records import Answer, Hit, Outcome, Query, Rewrite, Role
from lorag.pipeline.retrieval.bm25 import Bm25Encoder
from lorag.pipeline.retrieval.sentences import sentences
from lorag.pipeline.stages.quoting import cite
from lorag.pipeline.stages.stage import ChainState, StageResult, record, share
from lorag.pipeline.stages.synthesizer import REFUSAL

NO_MODEL = "no model"
"""What a record calls the adapter of a stage without a model."""


class Unchanged:
    """The question as it is: the rewriter that does nothing."""

    name, role = "rewrite", Role.REWRITER
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("rewrite",)

    @property
    def key(self) -> Hashable:
        return type(self).__qualname__

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        questions = [self.question(state.query) for state in states]
        return [
            StageResult(record(self.name, NO_MODEL, 0.0, Outcome.OK, question=question), Rewrite(question, Outcome.OK))
            for question in questions
        ]

    def question(self, query: Query) -> str:
        return query.question


class HistoryFirst(Unchanged):
    """The words of the conversation before the question: for a search by words, the subject is in them."""

    def question(self, query: Query) -> str:
        return " ".join([*(turn.text for turn in query.history), query.question])


class BestSentence:
    """Answers with the sentence of the passages that shares the most words with the question, and cites its passage.

    Words are BM25's: stemmed, without stop words, each counted once. Of equal sentences the first of the best passage is taken.
    It never refuses, unless nothing was found.
    """

    name, role = "synthesize", Role.SYNTHESIZER
    inputs: tuple[str, ...] = ("hits",)
    outputs: tuple[str, ...] = ("answer",)

    def __init__(self) -> None:
        self._words = Bm25Encoder()

    @property
    def key(self) -> Hashable:
        return type(self).__qualname__

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        started = time.perf_counter()
        answers = [self._answer(state.query.question, state.hits) for state in states]
        seconds = share(started, len(states))
        return [_answered(answer, seconds) for answer in answers]

    def _answer(self, question: str, hits: Sequence[Hit]) -> Answer:
        asked = set(self._words.query(question).indices)
        best = max(_sentences(hits), key=lambda each: len(asked & set(self._words.query(each[1]).indices)), default=None)
        if best is None:
            return REFUSAL
        number, text = best
        return Answer(text, False, (cite(number, hits[number - 1].passage, question, text),), Outcome.OK, text)


class AlwaysRefusing:
    """Refuses every question. It sees the passages, so that its refusals are judged by them."""

    name, role = "synthesize", Role.SYNTHESIZER
    inputs: tuple[str, ...] = ("hits",)
    outputs: tuple[str, ...] = ("answer",)

    @property
    def key(self) -> Hashable:
        return type(self).__qualname__

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        return [_answered(REFUSAL, 0.0) for _ in states]


def _answered(answer: Answer, seconds: float) -> StageResult:
    return StageResult(
        record("synthesize", NO_MODEL, seconds, Outcome.OK, reply=answer.text, refused=answer.refused), answer=answer
    )


def _sentences(hits: Sequence[Hit]) -> Iterator[tuple[int, str]]:
    """Each sentence with the number of its passage, from 1, in order."""
    for number, hit in enumerate(hits, 1):
        for start, end in sentences(hit.passage.text):
            yield number, hit.passage.text[start:end]
