"""The chain: rewrite → retrieve → judge answerability → synthesize → judge support, with a full trace.

Each check and the rewrite can be switched off. Stages run over all questions of a call in batches. Knows stages and
records; knows no settings, model or store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from types import MappingProxyType

from lorag.pipeline.contracts.judge import ANSWERABILITY, SUPPORT, JudgeInputs, LabelSchema, intent_schema
from lorag.pipeline.errors import InputError, LoragError
from lorag.pipeline.journey import Journey, StageWatcher, check_query, claim, evidence, message
from lorag.pipeline.records import Answer, Outcome, Query, Response, StageRecord, Verdict
from lorag.pipeline.response_json import response_json
from lorag.pipeline.stages.attempts import BASE
from lorag.pipeline.stages.judge import Judge
from lorag.pipeline.stages.retriever import Retriever
from lorag.pipeline.stages.rewriter import Rewriter
from lorag.pipeline.stages.synthesizer import REFUSAL, Synthesizer

__all__ = ["Chain", "ChainOptions", "Event", "Final", "StageDone", "StageWatcher", "TextDelta", "check_query", "response_json"]

SLICE = 32
"""Questions a stage works on between two reports of progress: enough to batch by length."""

Progress = Callable[[str, int, int], None]
"""Called with stage, questions done and questions in all."""

Step = Callable[[Sequence[Journey]], object]
"""Takes journeys one stage further, in place."""


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """What runs. `gate`: an answer is refused where P(unanswerable) is at least this; None only reports the verdict.

    `intents` are labels and meanings judged for every question; empty: not judged.
    """

    rewrite: bool = True
    answerability: bool = True
    support: bool = True
    gate: float | None = None
    intents: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.gate is not None and not (self.answerability and 0 <= self.gate <= 1):
            raise InputError(f"gate {self.gate}: needs a probability from 0 to 1 and the answerability check switched on")


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage has ended for the question."""

    record: StageRecord


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the reply as the model writes it, citation marks included."""

    text: str


@dataclass(frozen=True, slots=True)
class Final:
    """The whole response; the last event."""

    response: Response


Event = StageDone | TextDelta | Final


class Chain:
    """Answers questions. `rewriter` and `judge` may be None, which switches their stages off whatever the options say.

    Safe to call from several threads where its stages are.
    """

    def __init__(
        self,
        *,
        retriever: Retriever,
        synthesizer: Synthesizer,
        rewriter: Rewriter | None = None,
        judge: Judge | None = None,
        options: ChainOptions | None = None,
    ) -> None:
        options = options or ChainOptions()
        if options.gate is not None and judge is None:
            raise InputError("a gate needs a judge; give one or leave the gate off")
        self.options = options
        self._retriever = retriever
        self._synthesizer = synthesizer
        self._rewriter = rewriter if options.rewrite else None
        self._judge = judge
        self._intents = intent_schema(options.intents) if options.intents and judge else None

    def ask(self, query: Query, watcher: StageWatcher | None = None) -> Response:
        """Answer one question.

        Raises what ended it: InputError, PromptTooLong, EngineError, StoreError, AdapterError. A verdict that failed ends
        nothing (unless the gate needs it): it is marked in the response.
        """
        check_query(query)
        journey = Journey.start(query, watcher)
        for name, step in self._steps():
            _take(name, step, [journey])
            if journey.error is not None:
                raise journey.error
        return journey.response()

    def ask_many(self, queries: Sequence[Query], on_progress: Progress | None = None) -> list[Response]:
        """Answer questions in batches, one response a query, in order. A question that fails has a failed answer with its error.

        Raises InputError, before any work, where a query cannot be used; and the first error where every question failed.
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
        """As `ask_many`, but whatever is wrong with a query stays in its own response. `watchers`: one a query."""
        journeys = [Journey.start(*pair) for pair in zip(queries, watchers or [None] * len(queries), strict=True)]
        for journey in journeys:
            try:
                check_query(journey.query)
            except InputError as error:
                journey.error = error
        for name, step in self._steps():
            for start in range(0, len(journeys), SLICE):
                live = [journey for journey in journeys[start : start + SLICE] if journey.error is None]
                if live:
                    _take(name, step, live)
                if on_progress is not None:
                    on_progress(name, min(start + SLICE, len(journeys)), len(journeys))
        return [journey.response() for journey in journeys]

    def stream(self, query: Query, watcher: StageWatcher | None = None) -> Generator[Event]:
        """Answer one question, telling of each stage as it ends and of the reply as it is written. Closing it stops the work.

        Raises as `ask`. One thread at a time may iterate. Nothing is locked between two pieces: other requests run there.
        """
        check_query(query)
        journey = Journey.start(query, watcher)
        for name, step in self._steps():
            told = len(journey.records)
            if name == "synthesize":
                with journey.watched(name):
                    yield from self._stream_answer(journey)
            else:
                _take(name, step, [journey])
            if journey.error is not None:
                raise journey.error
            yield from (StageDone(record) for record in journey.records[told:])
        yield Final(journey.response())

    def _steps(self) -> list[tuple[str, Step]]:
        """The stages that are switched on, in order, by the names of their records."""
        steps: list[tuple[str, Step]] = []
        judge, intents = self._judge, self._intents
        if judge is not None and intents is not None:
            steps.append(("intent", lambda journeys: self._run_judge(judge, intents, journeys, message)))
        if self._rewriter is not None:
            steps.append(("rewrite", self._run_rewriter))
        steps.append(("retrieve", self._run_retriever))
        if judge is not None and self.options.answerability:
            steps.append(("answerability", lambda journeys: self._check_answerability(judge, journeys)))
        steps.append(("synthesize", self._run_synthesizer))
        if judge is not None and self.options.support:
            steps.append(("support", lambda journeys: self._check_support(judge, journeys)))
        return steps

    def _run_rewriter(self, journeys: Sequence[Journey]) -> None:
        assert self._rewriter is not None
        started = time.perf_counter()
        rewrites = self._rewriter.rewrite([journey.query for journey in journeys])
        seconds = _share(started, journeys)
        for journey, rewrite in zip(journeys, rewrites, strict=True):
            journey.rewrite, journey.error = rewrite, rewrite.error
            prompt = self._rewriter.prompt(journey.query)
            detail = {"question": rewrite.question, **_error(rewrite.error)}
            adapter = self._rewriter.adapter or BASE
            journey.records.append(StageRecord("rewrite", adapter, seconds, rewrite.outcome, prompt, rewrite.reply, detail))

    def _run_retriever(self, journeys: Sequence[Journey]) -> None:
        started = time.perf_counter()
        found = self._retriever.attempt([journey.rewrite.question for journey in journeys])
        seconds = _share(started, journeys)
        for journey, hits in zip(journeys, found, strict=True):
            error = hits if isinstance(hits, LoragError) else None
            journey.hits, journey.error = () if isinstance(hits, LoragError) else hits, error
            detail = {
                "k": self._retriever.k,
                "hybrid": self._retriever.hybrid,
                "found": [{"passage_id": hit.passage.id, "score": hit.score} for hit in journey.hits],
                **_error(error),
            }
            outcome = Outcome.FAILED if error else Outcome.OK
            journey.records.append(StageRecord("retrieve", self._retriever.encoder or BASE, seconds, outcome, detail=detail))

    def _run_judge(
        self,
        judge: Judge,
        schema: LabelSchema,
        journeys: Sequence[Journey],
        inputs: Callable[[Journey], JudgeInputs],
    ) -> list[Verdict]:
        started = time.perf_counter()
        asked = [inputs(journey) for journey in journeys]
        verdicts = judge.judge(schema, asked)
        seconds = _share(started, journeys)
        for journey, item, verdict in zip(journeys, asked, verdicts, strict=True):
            journey.verdicts.append(verdict)
            detail = {"probabilities": dict(verdict.probabilities), **_error(verdict.error)}
            prompt = judge.prompt(schema, item)
            adapter = judge.adapter or BASE
            journey.records.append(
                StageRecord(schema.task, adapter, seconds, verdict.outcome, prompt, verdict.label, MappingProxyType(detail))
            )
        return verdicts

    def _check_answerability(self, judge: Judge, journeys: Sequence[Journey]) -> None:
        """Without passages there is nothing to judge. With a gate, a failed verdict ends the question: it may not pass unseen."""
        asked = [journey for journey in journeys if journey.hits]
        for journey, verdict in zip(asked, self._run_judge(judge, ANSWERABILITY, asked, evidence), strict=True):
            if self.options.gate is None:
                continue
            journey.error = verdict.error
            if verdict.error is None and verdict.probabilities["unanswerable"] >= self.options.gate:
                journey.answer = REFUSAL

    def _run_synthesizer(self, journeys: Sequence[Journey]) -> None:
        asked = [journey for journey in journeys if journey.answer is None]
        for journey in journeys:
            if journey.answer is not None:
                self._record_gated(journey)
        started = time.perf_counter()
        answers = self._synthesizer.answer([j.rewrite.question for j in asked], [j.hits for j in asked])
        seconds = _share(started, asked)
        for journey, answer in zip(asked, answers, strict=True):
            self._record_answer(journey, answer, seconds)

    def _stream_answer(self, journey: Journey) -> Generator[TextDelta]:
        if journey.answer is not None:
            self._record_gated(journey)
            return
        started = time.perf_counter()
        question, pieces = journey.rewrite.question, list[str]()
        with closing(self._synthesizer.stream(question, journey.hits)) as stream:
            for piece in stream:
                pieces.append(piece)
                yield TextDelta(piece)
        answer = self._synthesizer.read(question, journey.hits, "".join(pieces).strip())
        self._record_answer(journey, answer, time.perf_counter() - started)

    def _record_answer(self, journey: Journey, answer: Answer, seconds: float) -> None:
        journey.answer, journey.error = answer, answer.error
        prompt = self._synthesizer.prompt(journey.rewrite.question, journey.hits)
        detail = {"refused": answer.refused, **_error(answer.error)}
        adapter = self._synthesizer.adapter or BASE
        journey.records.append(StageRecord("synthesize", adapter, seconds, answer.outcome, prompt, answer.reply, detail))

    def _record_gated(self, journey: Journey) -> None:
        adapter, detail = self._synthesizer.adapter or BASE, {"refused": True, "gated": True}
        journey.records.append(StageRecord("synthesize", adapter, 0.0, Outcome.OK, detail=detail))

    def _check_support(self, judge: Judge, journeys: Sequence[Journey]) -> None:
        """A refusal claims nothing, so nothing is judged."""
        asked = [journey for journey in journeys if journey.answer and not journey.answer.refused and journey.answer.text]
        self._run_judge(judge, SUPPORT, asked, claim)


def _take(name: str, step: Step, journeys: Sequence[Journey]) -> None:
    """Run one stage over `journeys`, each told to its watcher."""
    with ExitStack() as stack:
        for journey in journeys:
            stack.enter_context(journey.watched(name))
        step(journeys)


def _share(started: float, journeys: Sequence[Journey]) -> float:
    """Seconds since `started`, shared equally among the questions of a batch."""
    return (time.perf_counter() - started) / max(len(journeys), 1)


def _error(error: LoragError | None) -> dict[str, str]:
    return {} if error is None else {"error": str(error)}
