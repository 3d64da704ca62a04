"""BM25 in memory, over texts or over passages. Knows no question, no judgment and no metric.

The weights are those of the index's sparse vectors, with the inverse document frequency that Qdrant multiplies them with,
ln(1 + (N − n + ½) / (n + ½)), so the rankings are those of a search by words alone in the index.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Hit, Passage
from lorag.pipeline.retrieval.bm25 import Bm25Encoder
from lorag.pipeline.retrieval.embedder import passage_text
from lorag.pipeline.retrieval.store import Filter

Postings = Mapping[int, tuple[NDArray[np.intp], NDArray[np.float64]]]
"""Word → the places of the texts that hold it, and its weight in each."""


class WordIndex:
    """`texts` by id, searched by BM25. Nothing is computed before the first search."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._encoder = Bm25Encoder()

    def search(self, text: str, k: int) -> list[tuple[str, float]]:
        """At most `k` texts that share a word with `text`, with their scores, best first; equal scores by id."""
        scores = np.zeros(len(self._ids))
        for word in self._encoder.query(text).indices:
            if word in self._postings:
                places, weights = self._postings[word]
                scores[places] += weights
        found = np.flatnonzero(scores)
        if len(found) > k:
            found = found[scores[found] >= np.partition(scores[found], len(found) - k)[len(found) - k]]
        ranked = sorted((-float(scores[at]), self._ids[at]) for at in found)
        return [(id_, -score) for score, id_ in ranked[:k]]

    def search_many(self, texts: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """As `search`, for each of `texts`."""
        return [self.search(text, k) for text in texts]

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        return tuple(self._texts)

    @cached_property
    def _postings(self) -> Postings:
        held: dict[int, list[tuple[int, float]]] = {}
        for place, text in enumerate(self._texts.values()):
            vector = self._encoder.passage(text)
            for word, weight in zip(vector.indices, vector.values, strict=True):
                held.setdefault(word, []).append((place, weight))
        return {word: _weighted(entries, len(self._texts)) for word, entries in held.items()}


class WordSearcher:
    """The `Searcher` of a retriever stage that finds passages by words alone."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = {passage.id: passage for passage in passages}
        self._index = WordIndex({id_: passage_text(each) for id_, each in self._passages.items()})

    def search_many(
        self,
        questions: Sequence[str],
        k: int,
        *,
        hybrid: bool = True,
        filter: Filter | None = None,
        contexts: Sequence[str] = (),
    ) -> list[list[Hit]]:
        """At most `k` hits a question, best first. `hybrid` and `contexts` change nothing: a baseline searches for what it says.

        Raises InputError for a filter.
        """
        if filter:
            raise InputError("a search by words alone takes no filter")
        return [[Hit(self._passages[id_], score) for id_, score in self._index.search(text, k)] for text in questions]


def _weighted(entries: Sequence[tuple[int, float]], texts: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    rarity = math.log(1 + (texts - len(entries) + 0.5) / (len(entries) + 0.5))
    places, weights = zip(*entries, strict=True)
    return np.array(places, dtype=np.intp), rarity * np.array(weights, dtype=np.float64)
