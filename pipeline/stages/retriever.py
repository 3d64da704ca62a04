"""The retriever stage: questions → the passages of the index that may answer them, best first."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from typing import Protocol

from lorag.pipeline.errors import InputError, LoragError
from lorag.pipeline.records import Hit, Outcome, Query, Role
from lorag.pipeline.retrieval.rerank import Reranker
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.stages.attempts import attempt
from lorag.pipeline.stages.stage import ChainState, StageResult, record, share

DEPTH = 10
"""Hits of a search, at least, even if fewer are shown. Retrieval is measured at this depth, and what is measured is what
serves. Fused rankings may change with the depth, so every search uses the same one."""

RERANK_POOL = 20
"""Hits that a reranker orders, at least; four times k if that is more."""


CONTEXT_CHARS = 1000
"""Characters of the conversation that a search takes into account, the last ones: about as much as a small encoder reads."""


class Searcher(Protocol):
    """The part of an index that this stage needs."""

    def search_many(
        self,
        questions: Sequence[str],
        k: int,
        *,
        hybrid: bool = True,
        filter: Filter | None = None,
        contexts: Sequence[str] = (),
    ) -> list[list[Hit]]:
        """At most `k` hits a question, best first. `contexts` are the conversations before, one a question, '' for none; without
        any there is no need to take them."""
        ...


class Retriever:
    """Searches `index` and shows the first `k` hits. A `reranker` first reorders a larger pool.

    `encoder` is what a trace calls the encoder of the questions.
    """

    name, role = "retrieve", Role.EMBEDDER
    inputs: tuple[str, ...] = ("rewrite",)
    outputs: tuple[str, ...] = ("ranking", "hits")

    def __init__(
        self,
        index: Searcher,
        *,
        k: int = 4,
        hybrid: bool = True,
        filter: Filter | None = None,
        reranker: Reranker | None = None,
        encoder: str = "",
    ) -> None:
        self._index = index
        self._filter = filter
        self._reranker = reranker
        self.k = k
        self.hybrid = hybrid
        self.encoder = encoder

    @property
    def key(self) -> Hashable:
        return self.name, self._index, self.encoder, self.k, self.hybrid, repr(self._filter), self._reranker

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        started = time.perf_counter()
        found = self.rank([state.rewrite.question for state in states], contexts=[_context(state.query) for state in states])
        seconds = share(started, len(states))
        return [self._result(ranking, seconds) for ranking in found]

    def retrieve(self, questions: Sequence[str], *, k: int | None = None, filter: Filter | None = None) -> list[tuple[Hit, ...]]:
        """At most `k` hits a question, in order; `k` and `filter` replace the retriever's own.

        Raises the first error: StoreError, IndexMismatch, InputError (a bad filter) or BaseError. It names the question.
        """
        count = self.k if k is None else k
        results: list[tuple[Hit, ...]] = []
        for result in self.rank(questions, k=count, filter=filter):
            if isinstance(result, LoragError):
                raise result
            results.append(result[:count])
        return results

    def rank(
        self, questions: Sequence[str], *, k: int | None = None, filter: Filter | None = None, contexts: Sequence[str] = ()
    ) -> list[tuple[Hit, ...] | LoragError]:
        """All that is found for each question, at most `DEPTH` hits or `k` if that is more, or its error in its place.

        `contexts` are the conversations before, one a question, '' for none.
        """
        chosen = self._filter if filter is None else filter
        count = self.k if k is None else k

        def search(batch: Sequence[tuple[str, str]]) -> list[tuple[Hit, ...]]:
            if count < 1:
                raise InputError(f"k={count}: ask for at least one passage")
            depth = max(DEPTH, count)
            pool = max(RERANK_POOL, 4 * count) if self._reranker else depth
            asked, before = [question for question, _ in batch], [context for _, context in batch]
            options = {"contexts": before} if any(before) else {}
            found = self._index.search_many(asked, pool, hybrid=self.hybrid, filter=chosen, **options)
            return [self._best(question, hits, depth) for question, hits in zip(asked, found, strict=True)]

        items = list(zip(questions, contexts or [""] * len(questions), strict=True))
        return attempt(self.name, self.encoder, items, search, lambda item: item[0])

    def _best(self, question: str, hits: Sequence[Hit], count: int) -> tuple[Hit, ...]:
        return tuple(self._reranker.rerank(question, hits, count) if self._reranker else hits)

    def _result(self, found: tuple[Hit, ...] | LoragError, seconds: float) -> StageResult:
        error, ranking = (found, ()) if isinstance(found, LoragError) else (None, found)
        hits = ranking[: self.k]
        shown = [_found(hit) for hit in hits]
        outcome = Outcome.FAILED if error else Outcome.OK
        about = record(self.name, self.encoder, seconds, outcome, k=self.k, hybrid=self.hybrid, found=shown, error=error)
        return StageResult(about, ranking=ranking, hits=hits, error=error)


def _found(hit: Hit) -> dict[str, object]:
    also = {"also": list(hit.ids[1:])} if hit.twins else {}
    return {"passage_id": hit.passage.id, "score": hit.score, **also}


def _context(query: Query) -> str:
    """The end of the conversation with the question as it was asked; '' if there is no conversation."""
    return " ".join([*(turn.text for turn in query.history), query.question])[-CONTEXT_CHARS:] if query.history else ""
