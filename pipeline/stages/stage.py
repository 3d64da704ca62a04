"""The contract of a stage, and the state of a question between stages. Pure data; knows no stage in particular."""

from __future__ import annotations

import time
from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Answer, Hit, Message, Outcome, Query, Response, Rewrite, Role, StageRecord, Trace, Verdict
from lorag.pipeline.stages.attempts import BASE


class Stage(Protocol):
    """One stage of the chain. It runs on a batch of questions; a question that fails does not affect the others.

    `name` is that of its record, `role` that of its adapter. `inputs` are the fields of a `ChainState` that it reads besides
    the query, `outputs` those that it may set. `key` is all else that its result depends on: within one process, equal keys and
    equal inputs give the same `StageResult`.
    """

    @property
    def name(self) -> str: ...

    @property
    def role(self) -> Role: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def key(self) -> Hashable: ...

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        """The stage's result for each question, in order. Does not change `states`."""
        ...


@runtime_checkable
class WritingStage(Stage, Protocol):
    """A stage that can stream its reply."""

    def write(self, state: ChainState) -> Generator[TextDelta, None, StageResult]:
        """As `run` for one question, in pieces. Raises the error that ended it."""
        ...


class StageWatcher(Protocol):
    """Callbacks for the stages of one question, in the thread that runs them."""

    def started(self, stage: str, state: ChainState) -> None: ...

    def ended(self, stage: str, state: ChainState, error: BaseException | None) -> None:
        """The stage's record, if it left one, is the last of the state's. `error` is what ended the question here."""
        ...


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the reply as the model writes it, citation marks included."""

    text: str


@dataclass(frozen=True, slots=True)
class StageResult:
    """A stage's result for one question; None leaves a field of the state as it is.

    Without a record the stage had nothing to do. `error` ends the question.
    """

    record: StageRecord | None = None
    rewrite: Rewrite | None = None
    ranking: tuple[Hit, ...] | None = None
    hits: tuple[Hit, ...] | None = None
    answer: Answer | None = None
    verdict: Verdict | None = None
    error: LoragError | None = None


@dataclass(slots=True, eq=False)
class ChainState:
    """A question's state, filled in stage by stage.

    `ranking` is all that the search found, best first; `hits` are those of it that are shown. `error` ends the question: no later
    stage runs, and the answer is failed.
    """

    query: Query
    rewrite: Rewrite
    ranking: tuple[Hit, ...] = ()
    hits: tuple[Hit, ...] = ()
    answer: Answer | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    records: list[StageRecord] = field(default_factory=list)
    error: LoragError | None = None
    watcher: StageWatcher | None = None

    @classmethod
    def start(cls, query: Query, *, hits: Sequence[Hit] = (), watcher: StageWatcher | None = None) -> ChainState:
        return cls(query, Rewrite(query.question, Outcome.OK), hits=tuple(hits), watcher=watcher)

    @classmethod
    def of(cls, response: Response) -> ChainState:
        """The state that ended in `response`, for further judging. The history is not in it."""
        return cls(Query(response.question), response.rewrite, hits=response.trace.hits, answer=response.answer)

    def apply(self, result: StageResult) -> None:
        """Set the fields of `result` and append its verdict and record."""
        for name in ("rewrite", "ranking", "hits", "answer", "error"):
            if (value := getattr(result, name)) is not None:
                setattr(self, name, value)
        if result.verdict is not None:
            self.verdicts.append(result.verdict)
        if result.record is not None:
            self.records.append(result.record)

    @contextmanager
    def watched(self, stage: str) -> Iterator[None]:
        """Within: `stage` runs on the question; the watcher is called before and after."""
        if self.watcher is None:
            yield
            return
        self.watcher.started(stage, self)
        try:
            yield
        except BaseException as error:
            self.watcher.ended(stage, self, error)
            raise
        self.watcher.ended(stage, self, self.error)

    def response(self) -> Response:
        answer = self.answer or Answer("", refused=False, citations=(), outcome=Outcome.FAILED, error=self.error)
        trace = Trace(tuple(self.records), self.hits)
        return Response(self.query.question, self.rewrite, answer, tuple(self.verdicts), trace)


def upstream(stages: Sequence[Stage], name: str) -> list[Stage]:
    """The stages on which the result of stage `name` depends, itself last: those that set its inputs, and so on."""
    found: list[Stage] = []
    read: set[str] = set()
    for stage in reversed(stages):
        if stage.name == name or read & set(stage.outputs):
            found.insert(0, stage)
            read |= set(stage.inputs)
    return found


def record(
    stage: str,
    adapter: str | None,
    seconds: float,
    outcome: Outcome,
    prompt: tuple[Message, ...] = (),
    reply: str = "",
    *,
    error: LoragError | None = None,
    **detail: Any,
) -> StageRecord:
    """A stage's record for one question, with the error among its details."""
    shown = detail if error is None else {**detail, "error": str(error)}
    return StageRecord(stage, adapter or BASE, seconds, outcome, prompt, reply, MappingProxyType(shown))


def share(started: float, questions: int) -> float:
    """Seconds since `started`, shared equally among the questions of a batch."""
    return (time.perf_counter() - started) / max(questions, 1)
