"""The chain: rewrite → retrieve → judge answerability → synthesize → judge support, with a full trace.

A `Chain` is a list of stages; `build_chain` makes it, for serving and for evaluation. Stages run on all questions of a call in
batches. Knows no settings, model or store.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import MappingProxyType

from lorag.pipeline.engine.protocol import Engine
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Query, Response, Role, StageRecord
from lorag.pipeline.response_json import response_json
from lorag.pipeline.stages.judge import Judge, answerability, intent, support
from lorag.pipeline.stages.retriever import Retriever
from lorag.pipeline.stages.rewriter import Rewriter
from lorag.pipeline.stages.stage import ChainState, Stage, StageWatcher, TextDelta, WritingStage
from lorag.pipeline.stages.synthesizer import Synthesizer

__all__ = [
    "Chain",
    "ChainOptions",
    "Event",
    "Final",
    "StageDone",
    "StageWatcher",
    "TextDelta",
    "build_chain",
    "check_query",
    "response_json",
]

SLICE = 32
"""Questions that a stage runs on between two reports of progress: enough to batch by length."""

Progress = Callable[[str, int, int], None]
"""Called with stage, questions done and questions in all."""


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """Which stages run. `gate`: an answer is refused if P(unanswerable) is at least this; None only reports the verdict.

    `intents` are labels and meanings, judged for every question; if empty, no intent is judged. `proven` are the judge tasks in
    which the judge is shown to be better than a floor (None: not known); it marks the verdicts and changes no answer.
    """

    rewrite: bool = True
    answerability: bool = True
    support: bool = True
    gate: float | None = None
    intents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    proven: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.gate is not None and not (self.answerability and 0 <= self.gate <= 1):
            raise InputError(f"gate {self.gate}: needs a probability from 0 to 1 and the answerability check switched on")


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage has ended for the question."""

    record: StageRecord


@dataclass(frozen=True, slots=True)
class Final:
    """The whole response; the last event."""

    response: Response


Event = StageDone | TextDelta | Final


def build_chain(
    engine: Engine,
    adapters: Mapping[Role, str],
    retriever: Retriever,
    options: ChainOptions | None = None,
    *,
    writer: Engine | None = None,
) -> Chain:
    """The chain in its order. `adapters` are the resident ones by role; a role without one asks the bare base.

    `writer` replaces `engine` in the synthesizer alone.
    """
    options = options or ChainOptions()
    judge = Judge(engine, adapters.get(Role.JUDGE))
    stages: list[Stage] = [intent(judge, options.intents, options.proven)] if options.intents else []
    if options.rewrite:
        stages.append(Rewriter(engine, adapters.get(Role.REWRITER)))
    stages.append(retriever)
    if options.answerability:
        stages.append(answerability(judge, options.gate, options.proven))
    stages.append(Synthesizer(writer or engine, adapters.get(Role.SYNTHESIZER)))
    if options.support:
        stages.append(support(judge, options.proven))
    return Chain(stages)


class Chain:
    """Answers questions by `stages`, one after another. Safe to call from several threads if its stages are."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)

    def ask(self, query: Query, watcher: StageWatcher | None = None) -> Response:
        """Answer one question.

        Raises the error that ended it: InputError, PromptTooLong, EngineError, StoreError, AdapterError. A failed verdict is
        marked in the response and ends nothing, unless the gate needs it.
        """
        check_query(query)
        state = ChainState.start(query, watcher=watcher)
        for stage in self.stages:
            _run(stage, [state])
            if state.error is not None:
                raise state.error
        return state.response()

    def ask_many(self, queries: Sequence[Query], on_progress: Progress | None = None) -> list[Response]:
        """Answer questions in batches, one response a query, in order. A question that fails has a failed answer with its error.

        Raises InputError, before any work, if a query cannot be used, and the first error if every question failed.
        """
        for number, query in enumerate(queries, 1):
            try:
                check_query(query)
            except InputError as error:
                raise InputError(f"query {number} of {len(queries)}: {error}") from error
        responses = self.attempt_many(queries, on_progress)
        errors = [response.answer.error for response in responses if response.answer.error is not None]
        if errors and len(errors) == len(responses):
            raise errors[0]
        return responses

    def attempt_many(
        self,
        queries: Sequence[Query],
        on_progress: Progress | None = None,
        watchers: Sequence[StageWatcher | None] | None = None,
    ) -> list[Response]:
        """As `ask_many`, but every error is in the query's own response. `watchers`: one a query."""
        pairs = zip(queries, watchers or [None] * len(queries), strict=True)
        states = [ChainState.start(query, watcher=watcher) for query, watcher in pairs]
        for state in states:
            try:
                check_query(state.query)
            except InputError as error:
                state.error = error
        for stage in self.stages:
            for start in range(0, len(states), SLICE):
                live = [state for state in states[start : start + SLICE] if state.error is None]
                if live:
                    _run(stage, live)
                if on_progress is not None:
                    on_progress(stage.name, min(start + SLICE, len(states)), len(states))
        return [state.response() for state in states]

    def stream(self, query: Query, watcher: StageWatcher | None = None) -> Generator[Event]:
        """Answer one question, with an event for each stage as it ends and for the reply as it is written. Closing it stops the
        work.

        Raises as `ask`. One thread at a time may iterate. Nothing is locked between two pieces: other requests run meanwhile.
        """
        check_query(query)
        state = ChainState.start(query, watcher=watcher)
        for stage in self.stages:
            before = len(state.records)
            if isinstance(stage, WritingStage):
                with state.watched(stage.name):
                    state.apply((yield from stage.write(state)))
            else:
                _run(stage, [state])
            if state.error is not None:
                raise state.error
            yield from (StageDone(record) for record in state.records[before:])
        yield Final(state.response())


def check_query(query: Query) -> None:
    """Raises InputError for a blank question, or a NUL or half a surrogate pair in question or history."""
    if not query.question.strip():
        raise InputError("the question is empty; type one")
    for name, text in [("question", query.question), *(("history", turn.text) for turn in query.history)]:
        bad = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
        if bad is not None:
            raise InputError(f"the {name} holds U+{ord(bad):04X}, which is no text character; remove it")


def _run(stage: Stage, states: Sequence[ChainState]) -> None:
    """Run one stage on `states` and call their watchers."""
    with ExitStack() as stack:
        for state in states:
            stack.enter_context(state.watched(stage.name))
        for state, result in zip(states, stage.run(states), strict=True):
            state.apply(result)
