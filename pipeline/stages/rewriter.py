"""The rewriter stage: a question in its conversation → a question that stands alone."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence

from lorag.pipeline.contracts import PromptStyle, rewrite
from lorag.pipeline.engine.protocol import Completion, Engine, Generation
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Outcome, Query, Rewrite, Role
from lorag.pipeline.stages.attempts import ask
from lorag.pipeline.stages.stage import ChainState, StageResult, record, share


class Rewriter:
    """Asks `engine` with the rewriter adapter resident as `adapter`, or the bare base with the plain prompt."""

    name, role = "rewrite", Role.REWRITER
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("rewrite",)

    def __init__(self, engine: Engine, adapter: str | None = None) -> None:
        self._engine = engine
        self.adapter = adapter
        self._style = PromptStyle.TUNED if adapter else PromptStyle.PLAIN

    @property
    def key(self) -> Hashable:
        return self.name, self._engine, self.adapter, self._style

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        started = time.perf_counter()
        asked = self._ask([state.query for state in states])
        seconds = share(started, len(states))
        return [self._result(request, rewrite, seconds) for request, rewrite in asked]

    def rewrite(self, queries: Sequence[Query]) -> list[Rewrite]:
        """One rewrite a query, in order. A question without history stands alone and is left as it is."""
        return [rewrite for _, rewrite in self._ask(queries)]

    def request(self, query: Query) -> Generation | None:
        """The request to the model; None without history."""
        if not query.history:
            return None
        prompt = rewrite.messages(query.history, query.question, self._style)
        return Generation(prompt, self.adapter, rewrite.MAX_REPLY_TOKENS, stage=self.name)

    def _ask(self, queries: Sequence[Query]) -> list[tuple[Generation | None, Rewrite]]:
        requests = [self.request(query) for query in queries]
        replies = ask(self._engine.generate, requests, [query.question for query in queries])
        return [(request, _read(query, reply)) for query, request, reply in zip(queries, requests, replies, strict=True)]

    def _result(self, request: Generation | None, made: Rewrite, seconds: float) -> StageResult:
        prompt = request.messages if request else ()
        about = record(
            self.name, self.adapter, seconds, made.outcome, prompt, made.reply, question=made.question, error=made.error
        )
        return StageResult(about, rewrite=made, error=made.error)


def _read(query: Query, reply: Completion | LoragError | None) -> Rewrite:
    match reply:
        case None:
            return Rewrite(query.question, Outcome.OK)
        case Completion():
            return rewrite.parse(reply.text, query.question)
    return Rewrite(query.question, Outcome.FAILED, error=reply)
