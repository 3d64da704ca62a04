"""What a stage of the chain is, and a question on its way through the stages. Pure data; knows no stage in particular."""

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
    """One stage of the chain. It runs over a batch of questions; a question that fails costs only itself.

    `name` is that of its record, `role` the one whose adapter it works with. `inputs` are the fields of a `Journey` that it
    reads beside the query, `outputs` those that it may set. `key` is all that decides what it sets beside those inputs: within
    one process, equal keys and equal inputs give the same `Step`.
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

    def run(self, journeys: Sequence[Journey]) -> list[Step]:
        """What the stage comes to for each question, in order. The journeys stay as they are."""
        ...


@runtime_checkable
class WritingStage(Stage, Protocol):
    """A stage that can show its reply as it is written."""

    def write(self, journey: Journey) -> Generator[TextDelta, None, Step]:
        """As `run` for one question, in pieces. Raises what ended it."""
        ...


class StageWatcher(Protocol):
    """Is told of the stages of one question, in the thread that runs them."""

    def started(self, stage: str, journey: Journey) -> None: ...

    def ended(self, stage: str, journey: Journey, error: BaseException | None) -> None:
        """The stage's record, if it left one, is the last of the journey's. `error` is what ended the question here."""
        ...


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the reply as the model writes it, citation marks included."""

    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a stage came to for one question; None leaves a journey's field as it is.

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
class Journey:
    """Filled in step by step. `ranking` is all that the search found, best first; `hits` are those of it that are shown.

    `error` ends the journey: no later stage runs, and the answer is failed.
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
    def start(cls, query: Query, *, hits: Sequence[Hit] = (), watcher: StageWatcher | None = None) -> Journey:
        return cls(query, Rewrite(query.question, Outcome.OK), hits=tuple(hits), watcher=watcher)

    @classmethod
    def of(cls, response: Response) -> Journey:
        """The journey that ended in `response`, to be judged further. Its history is not known any more."""
        return cls(Query(response.question), response.rewrite, hits=response.trace.hits, answer=response.answer)

    def take(self, step: Step) -> None:
        """Go the step."""
        for name in ("rewrite", "ranking", "hits", "answer", "error"):
            if (value := getattr(step, name)) is not None:
                setattr(self, name, value)
        if step.verdict is not None:
            self.verdicts.append(step.verdict)
        if step.record is not None:
            self.records.append(step.record)

    @contextmanager
    def watched(self, stage: str) -> Iterator[None]:
        """Within: the question is in `stage`."""
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


def behind(stages: Sequence[Stage], name: str) -> list[Stage]:
    """The stages that decide what stage `name` comes to, itself last: those that set what it reads, and so on."""
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
