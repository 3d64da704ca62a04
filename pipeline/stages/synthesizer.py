"""The synthesizer stage: a question and its passages → an answer whose citations quote the source, or a refusal."""

from __future__ import annotations

import time
from collections.abc import Generator, Hashable, Sequence

from lorag.pipeline.contracts import PromptStyle, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.engine.protocol import Completion, Engine, Generation
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Answer, Hit, Outcome, Role
from lorag.pipeline.stages.attempts import ask, named
from lorag.pipeline.stages.quoting import cite
from lorag.pipeline.stages.stage import ChainState, StageResult, TextDelta, record, share

Hits = Sequence[Hit]

REFUSAL = Answer(synthesize.REFUSAL, refused=True, citations=(), outcome=Outcome.OK)
"""The answer without a request to the model: nothing was found, or the judge's gate refused."""


class Synthesizer:
    """Asks `engine` with the synthesizer adapter resident as `adapter`, or the bare base with the plain prompt."""

    name, role = "synthesize", Role.SYNTHESIZER
    inputs: tuple[str, ...] = ("rewrite", "hits", "answer")
    outputs: tuple[str, ...] = ("answer",)

    def __init__(self, engine: Engine, adapter: str | None = None) -> None:
        self._engine = engine
        self.adapter = adapter
        self._style = PromptStyle.TUNED if adapter else PromptStyle.PLAIN

    @property
    def key(self) -> Hashable:
        return self.name, self._engine, self.adapter, self._style

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        """A question that the gate has refused makes no request."""
        started = time.perf_counter()
        asked = [state for state in states if state.answer is None]
        answered = self._ask([state.rewrite.question for state in asked], [state.hits for state in asked])
        seconds = share(started, len(asked))
        results = iter([self._result(request, answer, seconds) for request, answer in answered])
        return [self._gated() if state.answer else next(results) for state in states]

    def write(self, state: ChainState) -> Generator[TextDelta, None, StageResult]:
        """Raises PromptTooLong, EngineError, named as in `Answer.error`."""
        if state.answer is not None:
            return self._gated()
        started = time.perf_counter()
        question, hits, pieces = state.rewrite.question, state.hits, list[str]()
        request = self.request(question, hits)
        try:
            for piece in self._engine.stream(request) if request else ():
                pieces.append(piece)
                yield TextDelta(piece)
        except (LoragError, RuntimeError, MemoryError, OSError) as error:
            raise named(error, self.name, self.adapter, question) from error
        answer = self.read(question, hits, "".join(pieces).strip()) if request else REFUSAL
        return self._result(request, answer, time.perf_counter() - started)

    def answer(self, questions: Sequence[str], hits: Sequence[Hits]) -> list[Answer]:
        """One answer a question, in order; `hits[i]` are the passages of `questions[i]`. No hits: the refusal."""
        return [answer for _, answer in self._ask(questions, hits)]

    def request(self, question: str, hits: Hits) -> Generation | None:
        """The request to the model; None without hits."""
        if not hits:
            return None
        prompt = synthesize.messages(question, [PassageText.of(hit.passage) for hit in hits], self._style)
        return Generation(prompt, self.adapter, synthesize.MAX_REPLY_TOKENS, stage=self.name)

    def read(self, question: str, hits: Hits, reply: str) -> Answer:
        """Parse a whole reply into an answer, each cited passage with its supporting quote."""
        parsed = synthesize.parse(reply, len(hits))
        citations = tuple(cite(number, hits[number - 1].passage, question, parsed.text) for number in parsed.numbers)
        return Answer(parsed.text, parsed.refused, citations, parsed.outcome, reply)

    def _ask(self, questions: Sequence[str], hits: Sequence[Hits]) -> list[tuple[Generation | None, Answer]]:
        requests = [self.request(question, shown) for question, shown in zip(questions, hits, strict=True)]
        replies = ask(self._engine.generate, requests, questions)
        rows = zip(questions, hits, requests, replies, strict=True)
        return [(request, self._answer(question, shown, reply)) for question, shown, request, reply in rows]

    def _answer(self, question: str, hits: Hits, reply: Completion | LoragError | None) -> Answer:
        match reply:
            case None:
                return REFUSAL
            case Completion():
                return self.read(question, hits, reply.text)
        return Answer("", refused=False, citations=(), outcome=Outcome.FAILED, error=reply)

    def _result(self, request: Generation | None, answer: Answer, seconds: float) -> StageResult:
        prompt = request.messages if request else ()
        about = record(
            self.name, self.adapter, seconds, answer.outcome, prompt, answer.reply, refused=answer.refused, error=answer.error
        )
        return StageResult(about, answer=answer, error=answer.error)

    def _gated(self) -> StageResult:
        return StageResult(record(self.name, self.adapter, 0.0, Outcome.OK, refused=True, gated=True))
