"""The synthesizer stage: a question and its passages → an answer whose citations quote the source, or a refusal."""

from __future__ import annotations

import time
from collections.abc import Generator, Hashable, Sequence

from lorag.pipeline.contracts import PromptStyle, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.engine.protocol import Completion, Engine, Generation
from lorag.pipeline.errors import LoragError, PromptTooLong
from lorag.pipeline.records import Answer, Hit, Outcome, Role
from lorag.pipeline.stages.attempts import named
from lorag.pipeline.stages.fitting import Fitted, ask_fitting, fewer
from lorag.pipeline.stages.quoting import cite
from lorag.pipeline.stages.stage import ChainState, StageResult, TextDelta, record, share

Hits = Sequence[Hit]
Asked = Fitted[Generation, Completion]

REFUSAL = Answer(synthesize.REFUSAL, refused=True, citations=(), outcome=Outcome.OK)
"""The answer without a request to the model: nothing was found, or the judge's gate refused."""


class Synthesizer:
    """Asks `engine` with the synthesizer adapter resident as `adapter`, or the bare base with the plain prompt.

    Passages that do not fit the prompt are left out: the hits of the question are then those that the model has read, in their
    order, and the record names the others as `left_out`.
    """

    name, role = "synthesize", Role.SYNTHESIZER
    inputs: tuple[str, ...] = ("rewrite", "hits", "answer")
    outputs: tuple[str, ...] = ("answer", "hits")

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
        pairs = zip(asked, answered, strict=True)
        results = iter([self._result(each, answer, state.hits, seconds) for state, (each, answer) in pairs])
        return [self._gated() if state.answer else next(results) for state in states]

    def write(self, state: ChainState) -> Generator[TextDelta, None, StageResult]:
        """Raises PromptTooLong, EngineError, named as in `Answer.error`."""
        if state.answer is not None:
            return self._gated()
        started = time.perf_counter()
        question, pieces, kept = state.rewrite.question, list[str](), tuple(range(len(state.hits)))
        while True:
            hits = [state.hits[number] for number in kept]
            request = self.request(question, hits)
            try:
                for piece in self._engine.stream(request) if request else ():
                    pieces.append(piece)
                    yield TextDelta(piece)
                break
            except (LoragError, RuntimeError, MemoryError, OSError) as error:
                left = fewer(_sizes(state.hits), kept, error) if isinstance(error, PromptTooLong) and not pieces else ()
                if not left:
                    raise named(error, self.name, self.adapter, question) from error
                kept = left
        answer = self.read(question, hits, "".join(pieces).strip()) if request else REFUSAL
        return self._result(Fitted(request, None, kept), answer, state.hits, time.perf_counter() - started)

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

    def _ask(self, questions: Sequence[str], hits: Sequence[Hits]) -> list[tuple[Asked, Answer]]:
        def build(item: int, kept: tuple[int, ...]) -> Generation | None:
            return self.request(questions[item], [hits[item][number] for number in kept])

        asked = ask_fitting(self._engine.generate, [_sizes(shown) for shown in hits], build, questions)
        return [
            (each, self._answer(question, [shown[number] for number in each.kept], each.reply))
            for question, shown, each in zip(questions, hits, asked, strict=True)
        ]

    def _answer(self, question: str, hits: Hits, reply: Completion | LoragError | None) -> Answer:
        match reply:
            case None:
                return REFUSAL
            case Completion():
                return self.read(question, hits, reply.text)
        return Answer("", refused=False, citations=(), outcome=Outcome.FAILED, error=reply)

    def _result(self, asked: Asked, answer: Answer, hits: Hits, seconds: float) -> StageResult:
        prompt = asked.request.messages if isinstance(asked.request, Generation) else ()
        left_out = [hit.passage.id for number, hit in enumerate(hits) if number not in asked.kept]
        detail = {"left_out": left_out} if left_out else {}
        error = answer.error
        about = record(
            self.name, self.adapter, seconds, answer.outcome, prompt, answer.reply, refused=answer.refused, error=error, **detail
        )
        kept = tuple(hits[number] for number in asked.kept) if left_out else None
        return StageResult(about, hits=kept, answer=answer, error=error)

    def _gated(self) -> StageResult:
        return StageResult(record(self.name, self.adapter, 0.0, Outcome.OK, refused=True, gated=True))


def _sizes(hits: Hits) -> list[int]:
    return [len(hit.passage.title) + len(hit.passage.section) + len(hit.passage.shown) for hit in hits]
