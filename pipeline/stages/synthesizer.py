"""The synthesizer stage: a question and its passages → an answer whose citations quote the source, or a refusal."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from lorag.pipeline.contracts import PromptStyle, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.engine.protocol import Engine, Generation
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Answer, Hit, Message, Outcome
from lorag.pipeline.stages.attempts import attempt, named
from lorag.pipeline.stages.quoting import cite

Hits = Sequence[Hit]

REFUSAL = Answer(synthesize.REFUSAL, refused=True, citations=(), outcome=Outcome.OK)
"""The answer given without asking the model: nothing was found, or the judge's gate is shut."""


class Synthesizer:
    """Asks `engine` with the synthesizer adapter resident as `adapter`, or the bare base in the plain words."""

    def __init__(self, engine: Engine, adapter: str | None = None) -> None:
        self._engine = engine
        self.adapter = adapter
        self._style = PromptStyle.TUNED if adapter else PromptStyle.PLAIN

    def prompt(self, question: str, hits: Hits) -> tuple[Message, ...]:
        """What the model is asked; empty without hits, when it is not asked."""
        return synthesize.messages(question, [PassageText.of(hit.passage) for hit in hits], self._style) if hits else ()

    def answer(self, questions: Sequence[str], hits: Sequence[Hits]) -> list[Answer]:
        """One answer a question, in order; `hits[i]` are the passages of `questions[i]`. No hits: the refusal."""
        pairs = list(zip(questions, hits, strict=True))
        asked = [pair for pair in pairs if pair[1]]
        replies = iter(attempt("synthesize", self.adapter, asked, self._generate, lambda pair: pair[0]))
        return [self._read(pair, next(replies)) if pair[1] else REFUSAL for pair in pairs]

    def stream(self, question: str, hits: Hits) -> Generator[str]:
        """The reply in pieces as the model writes it, citation marks included; nothing without hits. `read` makes the answer.

        Raises PromptTooLong, EngineError, named as in `Answer.error`.
        """
        if not hits:
            return
        request = self._request(question, hits)
        try:
            yield from self._engine.stream(request)
        except (LoragError, RuntimeError, MemoryError, OSError) as error:
            raise named(error, "synthesize", self.adapter, question) from error

    def read(self, question: str, hits: Hits, reply: str) -> Answer:
        """The answer that a whole reply is, each cited passage with its supporting quote."""
        if not hits:
            return REFUSAL
        parsed = synthesize.parse(reply, len(hits))
        citations = tuple(cite(number, hits[number - 1].passage, question, parsed.text) for number in parsed.numbers)
        return Answer(parsed.text, parsed.refused, citations, parsed.outcome, reply)

    def _request(self, question: str, hits: Hits) -> Generation:
        return Generation(self.prompt(question, hits), self.adapter, synthesize.MAX_REPLY_TOKENS)

    def _generate(self, pairs: Sequence[tuple[str, Hits]]) -> list[str]:
        return [completion.text for completion in self._engine.generate([self._request(*pair) for pair in pairs])]

    def _read(self, pair: tuple[str, Hits], reply: str | LoragError) -> Answer:
        if isinstance(reply, LoragError):
            return Answer("", refused=False, citations=(), outcome=Outcome.FAILED, error=reply)
        return self.read(*pair, reply)
