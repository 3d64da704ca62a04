"""The retriever stage: questions → the passages of the index that may answer them, best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Hit
from lorag.pipeline.retrieval.rerank import Reranker
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.stages.attempts import attempt

RERANK_POOL = 20
"""Hits a reranker chooses from, at least; four times k where that is more."""


class Searcher(Protocol):
    """The part of an index that this stage needs."""

    def search_many(
        self, questions: Sequence[str], k: int, *, hybrid: bool = True, filter: Filter | None = None
    ) -> list[list[Hit]]:
        """At most `k` hits a question, best first."""
        ...


class Retriever:
    """Searches `index` for `k` hits; with a `reranker` it chooses them from a larger pool.

    `encoder` is what a trace calls the encoder of the questions.
    """

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

    def retrieve(self, questions: Sequence[str], *, k: int | None = None, filter: Filter | None = None) -> list[tuple[Hit, ...]]:
        """At most `k` hits a question, in order; `k` and `filter` stand in for the retriever's own.

        Raises StoreError, IndexMismatch, InputError (a bad filter), BaseError: the first there is, named by question.
        """
        results: list[tuple[Hit, ...]] = []
        for result in self.attempt(questions, k=k, filter=filter):
            if isinstance(result, LoragError):
                raise result
            results.append(result)
        return results

    def attempt(
        self, questions: Sequence[str], *, k: int | None = None, filter: Filter | None = None
    ) -> list[tuple[Hit, ...] | LoragError]:
        """As `retrieve`, with the error of a question in its place."""
        chosen = self._filter if filter is None else filter
        count = self.k if k is None else k

        def search(batch: Sequence[str]) -> list[tuple[Hit, ...]]:
            pool = max(RERANK_POOL, 4 * count) if self._reranker else count
            found = self._index.search_many(batch, pool, hybrid=self.hybrid, filter=chosen)
            return [self._best(question, hits, count) for question, hits in zip(batch, found, strict=True)]

        return attempt("retrieve", self.encoder, questions, search, str)

    def _best(self, question: str, hits: Sequence[Hit], count: int) -> tuple[Hit, ...]:
        return tuple(self._reranker.rerank(question, hits, count) if self._reranker else hits)
