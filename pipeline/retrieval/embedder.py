"""Text → unit vector: the protocol of embedders, and a fake for tests.

`SentenceTransformerEmbedder`, which loads real models, is in `sentence_encoder` and can be imported from here. Knows nothing of
stores.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.contracts import embed
from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.encoder_identity import EncoderIdentity
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.pipeline.retrieval.token_vectors import TokenVectors

__all__ = [
    "Embedder",
    "EncoderIdentity",
    "HashingEmbedder",
    "SentenceTransformerEmbedder",
    "TokenVectors",
    "Vectors",
    "passage_text",
]

Vectors = NDArray[np.float32]

_TOKENS = re.compile(r"\w+")


class Embedder(Protocol):
    """Safe to call from several threads. Every row returned has length 1."""

    @property
    def identity(self) -> EncoderIdentity: ...

    @property
    def dimension(self) -> int: ...

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension) float32, one row a question."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension) float32, one row a text as made by `passage_text`."""
        ...

    def query_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The vectors of each question's tokens, for late interaction."""
        ...

    def passage_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The vectors of each passage's tokens; texts as for `embed_passages`."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> int:
        """The total number of tokens that the encoder reads of these; those cut off a long text do not count."""
        ...


def passage_text(passage: Passage) -> str:
    """The text of a passage for embedding and BM25: its headings, its table's header and its text."""
    return embed.passage_text(passage.title, passage.section, passage.shown)


class HashingEmbedder:
    """A deterministic fake: signed feature hashing of words (Weinberger et al. 2009), so texts that share words have near
    vectors."""

    def __init__(self, dimension: int = 256, name: str = "hashing") -> None:
        self.dimension = dimension
        self.identity = EncoderIdentity(name, f"{name}-{dimension}", pooling="sum")

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return self._embed(texts)

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return self._embed(texts)

    def query_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return [self._tokens(text) for text in texts]

    def passage_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return [self._tokens(text) for text in texts]

    def count_tokens(self, texts: Sequence[str]) -> int:
        return sum(len(_TOKENS.findall(text)) for text in texts)

    def _tokens(self, text: str) -> TokenVectors:
        """Each word as a text by itself, its column as its id."""
        vectors = self._embed(_TOKENS.findall(text))
        return TokenVectors(np.argmax(np.abs(vectors), axis=1) if len(vectors) else np.zeros(0, dtype=np.int64), vectors)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for token in _TOKENS.findall(text.casefold()):
                value = int.from_bytes(
                    hashlib.blake2b(token.encode(), digest_size=8, key=self.identity.model.encode()).digest(), "big"
                )
                row[(value >> 1) % self.dimension] += 1.0 if value & 1 else -1.0
            if not row.any():
                row[0] = 1.0
            row /= np.linalg.norm(row)
        return rows
