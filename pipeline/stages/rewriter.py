"""The rewriter stage: a question in its conversation → a question that stands alone."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.contracts import PromptStyle, rewrite
from lorag.pipeline.engine.protocol import Engine, Generation
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Message, Outcome, Query, Rewrite
from lorag.pipeline.stages.attempts import attempt


class Rewriter:
    """Asks `engine` with the rewriter adapter resident as `adapter`, or the bare base in the plain words."""

    def __init__(self, engine: Engine, adapter: str | None = None) -> None:
        self._engine = engine
        self.adapter = adapter
        self._style = PromptStyle.TUNED if adapter else PromptStyle.PLAIN

    def prompt(self, query: Query) -> tuple[Message, ...]:
        """What the model is asked; empty without history, when it is not asked."""
        return rewrite.messages(query.history, query.question, self._style) if query.history else ()

    def rewrite(self, queries: Sequence[Query]) -> list[Rewrite]:
        """One rewrite a query, in order. A question without history stands alone and is left as it is."""
        asked = [query for query in queries if query.history]
        replies = iter(attempt("rewrite", self.adapter, asked, self._generate, lambda query: query.question))
        return [self._read(query, next(replies)) if query.history else Rewrite(query.question, Outcome.OK) for query in queries]

    def _generate(self, queries: Sequence[Query]) -> list[str]:
        requests = [Generation(self.prompt(query), self.adapter, rewrite.MAX_REPLY_TOKENS) for query in queries]
        return [completion.text for completion in self._engine.generate(requests)]

    def _read(self, query: Query, reply: str | LoragError) -> Rewrite:
        if isinstance(reply, LoragError):
            return Rewrite(query.question, Outcome.FAILED, error=reply)
        return rewrite.parse(reply, query.question)
