"""The rewriter stage: a question in its conversation → a question that stands alone."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import replace

from lorag.pipeline.contracts import PromptStyle, rewrite
from lorag.pipeline.contracts.context import HISTORY_TURNS, TURN_CHARS
from lorag.pipeline.engine.protocol import Completion, Engine, Generation
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Outcome, Query, Rewrite, Role
from lorag.pipeline.stages.fitting import Fitted, ask_fitting
from lorag.pipeline.stages.stage import ChainState, StageResult, record, share

Asked = Fitted[Generation, Completion]


class Rewriter:
    """Asks `engine` with the rewriter adapter resident as `adapter`, or the bare base with the plain prompt.

    Turns that do not fit the prompt are left out, the oldest first; the record counts them as `left_out`.
    """

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
        return [self._result(each, rewrite, seconds) for each, rewrite in asked]

    def rewrite(self, queries: Sequence[Query]) -> list[Rewrite]:
        """One rewrite a query, in order. A question without history stands alone and is left as it is."""
        return [rewrite for _, rewrite in self._ask(queries)]

    def request(self, query: Query) -> Generation | None:
        """The request to the model; None without history."""
        if not query.history:
            return None
        prompt = rewrite.messages(query.history, query.question, self._style)
        return Generation(prompt, self.adapter, rewrite.MAX_REPLY_TOKENS, stage=self.name)

    def _ask(self, queries: Sequence[Query]) -> list[tuple[Asked, Rewrite]]:
        def build(item: int, kept: tuple[int, ...]) -> Generation | None:
            turns = queries[item].history[-HISTORY_TURNS:]
            return self.request(
                replace(queries[item], history=tuple(turns[-1 - number] for number in sorted(kept, reverse=True)))
            )

        sizes = [[min(len(turn.text), TURN_CHARS) for turn in query.history[: -HISTORY_TURNS - 1 : -1]] for query in queries]
        asked = ask_fitting(self._engine.generate, sizes, build, [query.question for query in queries])
        return [(each, _read(query, each.reply)) for query, each in zip(queries, asked, strict=True)]

    def _result(self, asked: Asked, made: Rewrite, seconds: float) -> StageResult:
        prompt = asked.request.messages if isinstance(asked.request, Generation) else ()
        detail = {"left_out": asked.parts - len(asked.kept)} if len(asked.kept) < asked.parts else {}
        error = made.error
        about = record(
            self.name, self.adapter, seconds, made.outcome, prompt, made.reply, question=made.question, error=error, **detail
        )
        return StageResult(about, rewrite=made, error=error)


def _read(query: Query, reply: Completion | LoragError | None) -> Rewrite:
    match reply:
        case None:
            return Rewrite(query.question, Outcome.OK)
        case Completion():
            return rewrite.parse(reply.text, query.question)
    return Rewrite(query.question, Outcome.FAILED, error=reply)
