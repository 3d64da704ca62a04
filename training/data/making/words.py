"""The content words of a text, as BM25 counts them: stemmed, lower case, without stop words."""

from __future__ import annotations

from functools import lru_cache

from lorag.pipeline.retrieval.bm25 import Bm25Encoder

_ENCODER = Bm25Encoder()

Words = frozenset[int]


@lru_cache(maxsize=8192)
def content_words(text: str) -> Words:
    """The content words of `text`, each as the hash that BM25 has for it."""
    return frozenset(_ENCODER.query(text).indices)


def share_in(words: Words, other: Words) -> float:
    """The share of `words` that `other` has; 0 if there are none."""
    return len(words & other) / len(words) if words else 0.0
