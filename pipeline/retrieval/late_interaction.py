"""Late interaction: passages that a search found, ordered by the encoder's token vectors (ColBERT, arXiv 2004.12832).

One vector a passage loses which of its words answer a question. Here each token of the question looks for its nearest token of
the passage, and rare tokens count more. The encoder is the one that serves, so no other model is needed. Knows no index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.contracts.embed import query_text
from lorag.pipeline.records import Hit
from lorag.pipeline.retrieval.embedder import passage_text
from lorag.pipeline.retrieval.fusion import levelled
from lorag.pipeline.retrieval.token_cache import TokenCache
from lorag.pipeline.retrieval.token_vectors import TokenVectors, joined

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.pipeline.retrieval.weights import SearchWeights

POOL = 100
"""Passages that a search finds for late interaction to order, at least."""

CONVERSATION_SHARE = 0.8
"""The share of a conversation's token that its document has. The conversation tells which document is spoken of, the question
which of its passages is asked for."""

TIED = 1e-5
"""Relative difference below which two sums of cosines are equal."""

CACHE_BYTES = 512 << 20
"""Memory for token vectors of passages, in half precision: 3,000 to 7,000 passages of the default size and encoder. Beyond that a
search reads passages again."""

READ_AT_ONCE = 256
"""Passages whose token vectors are held for a search of many questions, whatever the cache keeps."""


class LateInteraction:
    """Orders hits by share · late interaction + (1 - share) · their own score. Safe to call from several threads.

    Token vectors of passages are computed at the first need, and kept in `cache`.
    """

    def __init__(self, embedder: Embedder, cache: TokenCache | None = None) -> None:
        self._embedder = embedder
        self._cache = cache or TokenCache(CACHE_BYTES)

    def rerank_many(
        self,
        questions: Sequence[str],
        found: Sequence[Sequence[Hit]],
        k: int,
        weights: SearchWeights,
        contexts: Sequence[str] = (),
    ) -> list[list[Hit]]:
        """The best `k` hits of each question, best first, with their new scores; equals by passage id.

        `contexts` are the conversations before, one a question, '' for none; their tokens count as `weights.history` says.
        """
        if not questions:
            return []
        queries = self._embedder.query_tokens([query_text(question) for question in questions])
        before = [query_text(context) if weights.history else "" for context in contexts] or [""] * len(questions)
        read = iter(self._embedder.query_tokens([text for text in before if text]))
        extra = [next(read) if text else None for text in before]
        asked = [query if more is None else joined([query, more]) for query, more in zip(queries, extra, strict=True)]
        matched = self._matched(asked, found)
        own = [len(query.ids) for query in queries]
        return [_ordered(each, length, hits, weights)[:k] for each, length, hits in zip(matched, own, found, strict=True)]

    def _matched(self, asked: Sequence[TokenVectors], found: Sequence[Sequence[Hit]]) -> list[TokenMatches]:
        """Each question with the passages found for it. A passage is read once for all questions."""
        matched = [TokenMatches(query, len(hits)) for query, hits in zip(asked, found, strict=True)]
        wanted: dict[str, list[tuple[TokenMatches, int]]] = defaultdict(list)
        for each, hits in zip(matched, found, strict=True):
            for at, hit in enumerate(hits):
                wanted[passage_text(hit.passage)].append((each, at))
        texts = list(wanted)
        for start in range(0, len(texts), READ_AT_ONCE):
            part = texts[start : start + READ_AT_ONCE]
            for text, tokens in zip(part, self._cache.read(part, self._embedder.passage_tokens), strict=True):
                for each, at in wanted[text]:
                    each.add(at, tokens)
        return matched


class TokenMatches:
    """The tokens of a question matched with those of `passages` passages, which are added one by one and not kept."""

    def __init__(self, query: TokenVectors, passages: int) -> None:
        self._query = query
        self._nearest = np.zeros((len(query.ids), passages), dtype=np.float32)
        self._held = np.zeros((len(query.ids), passages), dtype=np.bool_)

    @property
    def tokens(self) -> int:
        return len(self._query.ids)

    def add(self, at: int, passage: TokenVectors) -> None:
        """Match the passage at place `at`: of each token of the question the nearest, and whether it has that very one."""
        if len(passage.ids):
            self._nearest[:, at] = (self._query.vectors @ passage.vectors.astype(np.float32).T).max(axis=1)
            self._held[:, at] = np.isin(self._query.ids, passage.ids)

    def scores(
        self,
        importance: NDArray[np.float32] | None = None,
        documents: Sequence[str] = (),
        borrowed: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """For each passage, the mean over the question's tokens of the cosine of the nearest token of the passage, (n,).

        The mean is weighted by inverse document frequency in these passages, ln(1 + (n - f + 0.5) / (f + 0.5)). All of them match
        the question somehow, so a token that most of them have tells little. `importance` (tokens,) multiplies these weights. A
        passage or a question without tokens scores 0.

        `documents` names the document of each passage. Of a token's cosine the share `borrowed` (tokens,) is then that of its
        nearest token in any of these passages of the same document: a name or a date may stand in another section of it.
        """
        nearest, counts = self._nearest, self._held.sum(axis=1, dtype=np.float32)
        weights = np.log1p((nearest.shape[1] - counts + 0.5) / (counts + 0.5))
        if importance is not None:
            weights = weights * importance
        if not weights.any():
            return np.zeros(nearest.shape[1], dtype=np.float32)
        if borrowed is not None:
            nearest = nearest + borrowed[:, None] * (_of_documents(nearest, documents) - nearest)
        scores: NDArray[np.float32] = (weights / weights.sum()) @ nearest
        return scores


def _ordered(matches: TokenMatches, own: int, hits: Sequence[Hit], weights: SearchWeights) -> list[Hit]:
    """The hits by their new scores; of the question's tokens the first `own` are not of the conversation before."""
    lengths = [own, matches.tokens - own]
    importance = np.repeat(np.array([1.0, weights.history], dtype=np.float32), lengths)
    borrowed = np.repeat(np.array([weights.document, CONVERSATION_SHARE], dtype=np.float32), lengths)
    scores = matches.scores(importance, [hit.passage.document_id for hit in hits], borrowed)
    share = weights.tokens_share
    by_id = {
        hit.passage.id: replace(hit, score=share * float(score) + (1 - share) * hit.score)
        for hit, score in zip(hits, scores, strict=True)
    }
    ranking = sorted(((id_, hit.score) for id_, hit in by_id.items()), key=lambda each: (-each[1], each[0]))
    level = sorted(levelled(ranking, TIED), key=lambda each: (-each[1], each[0]))
    return [replace(by_id[id_], score=score) for id_, score in level]


def _of_documents(nearest: NDArray[np.float32], documents: Sequence[str]) -> NDArray[np.float32]:
    """Each cosine (tokens, passages) → the largest of the same token in the passages of the same document."""
    _, document = np.unique(np.array(documents), return_inverse=True)
    largest = np.full((int(document.max(initial=-1)) + 1, len(nearest)), -1.0, dtype=np.float32)
    np.maximum.at(largest, document, nearest.T)
    return largest[document].T
