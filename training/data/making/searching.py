"""The search that making rows uses: a temporary index over all passages, searched as serving does, and by words alone.

A project's own index is left alone: it may be served meanwhile, and holds uploads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from lorag.pipeline.retrieval.weights import SearchWeights
from lorag.training.data.making.writing import Progress
from lorag.training.data.rows import PassageRow
from lorag.training.passage_search import Retrieval, as_passage, open_temporary_index

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WORDS_ALONE = SearchWeights(words=1.0, vectors=0.0, tokens=0.0)


class IndexedCorpus:
    """A `CorpusSearch` over `passages`, and unit vectors of questions. Use it in a `with` statement, which fills the index.

    Raises as `Index` and the encoder do.
    """

    def __init__(self, passages: Iterable[PassageRow], retrieval: Retrieval, on_progress: Progress | None = None) -> None:
        self._passages, self._retrieval, self._on_progress = list(passages), retrieval, on_progress
        self._opened = ExitStack()
        self._index: Any
        self._retriever: Any

    def __enter__(self) -> Self:
        index = open_temporary_index([as_passage(row) for row in self._passages], self._retrieval, self._opened, self._written)
        self._index = index.remembering()
        self._retriever = self._retrieval.open_retriever(self._index)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _written(self, done: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress("passages", done, total)

    def find(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """As serving finds them: with its encoder, its weights and its reranker."""
        return [[id_ for hit in hits for id_ in hit.ids] for hits in self._retriever.retrieve(questions, k=k)]

    def find_by_words(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """By BM25 alone."""
        found = self._index.weighted(_WORDS_ALONE).search_many(questions, k)
        return [[id_ for hit in hits for id_ in hit.ids] for hits in found]

    def embed(self, questions: Sequence[str]) -> NDArray[np.float32]:
        """A unit vector a question, as the encoder of the questions makes them."""
        vectors: NDArray[np.float32] = self._index.embedder.embed_queries(questions)
        return vectors
