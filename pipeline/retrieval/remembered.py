"""An embedder that reads each question once, for searches that ask the same questions many times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.retrieval.encoder_identity import EncoderIdentity
from lorag.pipeline.retrieval.token_vectors import TokenVectors

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Embedder, Vectors

Value = TypeVar("Value")


class RememberedQuestions:
    """`embedder`, with the vectors of all questions kept for the object's life: about 25 kB a question of 15 tokens.

    Passages go through as they are.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._tokens: dict[str, TokenVectors] = {}

    @property
    def identity(self) -> EncoderIdentity:
        return self._embedder.identity

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return self._embedder.embed_queries(texts)
        rows: list[NDArray[np.float32]] = _read(texts, self._vectors, self._embedder.embed_queries)
        return np.stack(rows)

    def query_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return _read(texts, self._tokens, self._embedder.query_tokens)

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return self._embedder.embed_passages(texts)

    def passage_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return self._embedder.passage_tokens(texts)

    def count_tokens(self, texts: Sequence[str]) -> int:
        return self._embedder.count_tokens(texts)


def _read(texts: Sequence[str], known: dict[str, Value], make: Callable[[list[str]], Iterable[Value]]) -> list[Value]:
    """The values of `texts`, those that are not `known` made together."""
    lacking = [text for text in dict.fromkeys(texts) if text not in known]
    if lacking:
        known.update(zip(lacking, make(lacking), strict=True))
    return [known[text] for text in texts]
