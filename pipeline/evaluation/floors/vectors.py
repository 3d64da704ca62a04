"""Texts found by the vectors of an encoder, in memory, as `WordIndex` finds them by words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.retrieval.embedder import Embedder


class VectorIndex:
    """`texts` by id, all embedded as queries are: they are compared with each other. Nothing is embedded before a search."""

    def __init__(self, texts: Mapping[str, str], embedder: Embedder) -> None:
        self._texts = texts
        self._embedder = embedder

    def search_many(self, texts: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """The `k` nearest texts of each by cosine, best first; equals by id."""
        if not texts or not self._texts:
            return [[] for _ in texts]
        ids = list(self._texts)
        cosines = np.asarray(self._embedder.embed_queries(list(texts)), dtype=np.float64) @ self._vectors.T
        ranked = [sorted(zip(ids, map(float, row), strict=True), key=lambda found: (-found[1], found[0])) for row in cosines]
        return [each[:k] for each in ranked]

    @cached_property
    def _vectors(self) -> NDArray[np.float64]:
        return np.asarray(self._embedder.embed_queries(list(self._texts.values())), dtype=np.float64)
