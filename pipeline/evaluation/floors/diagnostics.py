"""Two systems that show where answers are lost: gold passages instead of what was found, and no passages at all.

They are no floors. With the gold passages shown, what is still lost is not lost to retrieval. Without any, the base answers from
what it knows.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence

from lorag.pipeline.contracts import synthesize
from lorag.pipeline.engine.protocol import Completion, Engine, Generation
from lorag.pipeline.errors import LoragError
from lorag.pipeline.evaluation.ablation import Configuration, TestSet
from lorag.pipeline.evaluation.bench import RETRIEVAL, Parts, System
from lorag.pipeline.records import Answer, Hit, Message, Outcome, Passage, Query, Role
from lorag.pipeline.stages.attempts import ask
from lorag.pipeline.stages.retriever import Retriever
from lorag.pipeline.stages.stage import ChainState, StageResult, record, share

ORACLE, CLOSED_BOOK = "gold passages shown", "no passages shown"

ASKED = "Answer the question in a few words. If you do not know, reply exactly: The passages do not say."


class GoldPassages:
    """Shows the gold passages of a question. One without any, such as an unanswerable one, gets what `retriever` finds."""

    name, role = RETRIEVAL, Role.EMBEDDER
    inputs: tuple[str, ...] = ("rewrite",)
    outputs: tuple[str, ...] = ("ranking", "hits")

    def __init__(self, retriever: Retriever, gold: Mapping[Query, tuple[Passage, ...]]) -> None:
        self._retriever = retriever
        self._gold = gold

    @property
    def key(self) -> Hashable:
        return ORACLE, self._retriever.key

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        found = iter(self._retriever.run([state for state in states if not self._gold.get(state.query)]))
        return [self._shown(state) if self._gold.get(state.query) else next(found) for state in states]

    def _shown(self, state: ChainState) -> StageResult:
        hits = tuple(Hit(passage, 1.0) for passage in self._gold[state.query])
        shown = [{"passage_id": hit.passage.id, "score": hit.score} for hit in hits]
        return StageResult(record(self.name, ORACLE, 0.0, Outcome.OK, found=shown), ranking=hits, hits=hits)


class ClosedBook:
    """Asks the bare base the question alone."""

    name, role = "synthesize", Role.SYNTHESIZER
    inputs: tuple[str, ...] = ("rewrite",)
    outputs: tuple[str, ...] = ("answer",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def key(self) -> Hashable:
        return CLOSED_BOOK, self._engine

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        started = time.perf_counter()
        questions = [state.rewrite.question for state in states]
        requests = [self._request(question) for question in questions]
        replies = ask(self._engine.generate, requests, questions)
        seconds = share(started, len(states))
        return [self._result(request, reply, seconds) for request, reply in zip(requests, replies, strict=True)]

    def _request(self, question: str) -> Generation:
        prompt = (Message("user", f"Question: {question}\n\n{ASKED}"),)
        return Generation(prompt, None, synthesize.MAX_REPLY_TOKENS, stage=CLOSED_BOOK)

    def _result(self, request: Generation, reply: Completion | LoragError | None, seconds: float) -> StageResult:
        if not isinstance(reply, Completion):
            answer = Answer("", refused=False, citations=(), outcome=Outcome.FAILED, error=reply)
        else:
            parsed = synthesize.parse(reply.text, 0)
            answer = Answer(parsed.text, parsed.refused, (), Outcome.OK, reply.text)
        about = record(
            self.name, None, seconds, answer.outcome, request.messages, answer.reply, refused=answer.refused, error=answer.error
        )
        return StageResult(about, answer=answer, error=answer.error)


def diagnostic_systems(parts: Parts, tests: TestSet, roles: frozenset[Role], passages: Sequence[Passage]) -> tuple[System, ...]:
    """The chain with all of `roles` on and the gold passages shown, and the bare base without passages. Empty if nothing is
    answered."""
    answered = [item for item in tests.chain if item.answered]
    if not answered:
        return ()
    known = {passage.id: passage for passage in passages}
    gold = {item.query: tuple(known[id_] for id_ in item.gold.passage_ids if id_ in known) for item in answered}
    retriever = parts.tuned if Role.EMBEDDER in roles and parts.tuned else parts.frozen
    stages = parts.stages(roles)
    oracle = tuple(GoldPassages(retriever, gold) if stage.name == RETRIEVAL else stage for stage in stages)
    rewriter = tuple(stage for stage in stages if stage.role is Role.REWRITER)
    answers = frozenset({"answers"})
    return (
        System(Configuration(ORACLE, roles), oracle, parts=answers),
        System(Configuration(CLOSED_BOOK, frozenset()), (*rewriter, ClosedBook(parts.engine)), parts=answers),
    )
