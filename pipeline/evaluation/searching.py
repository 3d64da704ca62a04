"""Makes the rankings of a test collection: exhaustive by vectors, hybrid by an index's own engine, ordered anew by a reranker.

Knows no relevance judgment and no metric.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.beir import BeirCollection
from lorag.pipeline.evaluation.trec import Run, Scored, rank
from lorag.pipeline.records import Hit, Passage
from lorag.pipeline.retrieval.store import Point, Search, Sparse

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.pipeline.retrieval.late_interaction import LateInteraction
    from lorag.pipeline.retrieval.rerank import Reranker
    from lorag.pipeline.retrieval.weights import SearchWeights

Progress = Callable[[int, int], None]
"""Called with (texts embedded, texts in all)."""

_EMBED_BATCH = 256
_SCORE_CELLS = 1 << 24  # maximum scores in memory: 64 MiB of float32
_TIES = 10  # hits fetched beyond those wanted, as an index does: the engine gives equal scores in any order


@dataclass(frozen=True, slots=True)
class Embedded:
    """Ids and vectors of a collection; vectors are (queries, d) and (passages, d).

    Raises InputError if the numbers of rows and ids differ, or a vector is not finite.
    """

    query_ids: Sequence[str]
    queries: NDArray[np.float32]
    passage_ids: Sequence[str]
    passages: NDArray[np.float32]

    def __post_init__(self) -> None:
        sides = (("query", self.queries, self.query_ids), ("passage", self.passages, self.passage_ids))
        for name, vectors, ids in sides:
            if vectors.ndim != 2 or len(vectors) != len(ids):
                raise InputError(f"{len(ids)} {name} ids but vectors of shape {vectors.shape}; one row an id is needed")
            broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
            if len(broken):  # every comparison with NaN is false: the ranking would be by the passages' ids
                raise InputError(
                    f"{len(broken)} {name} vectors hold NaN or infinity, such as that of {ids[broken[0]]!r}; the encoder or its "
                    "adapter is broken: load it in fp32, or train it anew with a lower learning rate"
                )


def embed_collection(collection: BeirCollection, embedder: Embedder, progress: Progress | None = None) -> Embedded:
    """Embed the passages, then the queries."""
    passage_ids, query_ids = list(collection.passages), list(collection.queries)
    total = len(passage_ids) + len(query_ids)
    passages = _embed(embedder.embed_passages, list(collection.passages.values()), 0, total, progress)
    queries = _embed(embedder.embed_queries, list(collection.queries.values()), len(passage_ids), total, progress)
    return Embedded(query_ids, queries, passage_ids, passages)


def search(embedded: Embedded, k: int) -> dict[str, tuple[Scored, ...]]:
    """The exact `k` best passages of each query by inner product.

    Equal scores are ordered as by `trec.rank`, also at the cut after the k best.
    """
    run: dict[str, tuple[Scored, ...]] = {}
    step = max(1, _SCORE_CELLS // max(1, len(embedded.passage_ids)))
    for start in range(0, len(embedded.query_ids), step):
        scores = embedded.queries[start : start + step] @ embedded.passages.T
        for query_id, row in zip(embedded.query_ids[start : start + step], scores, strict=True):
            run[query_id] = _best(row, embedded.passage_ids, k)
    return run


def search_hybrid(
    embedded: Embedded, collection: BeirCollection, k: int, embedder: Embedder, weights: SearchWeights | None = None
) -> dict[str, tuple[Scored, ...]]:
    """The `k` best passages of each query by vectors, BM25 words and token vectors, as an index with these weights finds them.

    The collection is in a temporary edge store. Equal scores are ordered as by `trec.rank`.
    """
    from lorag.pipeline.retrieval.bm25 import Bm25Encoder
    from lorag.pipeline.retrieval.edge_store import EdgeStore
    from lorag.pipeline.retrieval.late_interaction import POOL, LateInteraction
    from lorag.pipeline.retrieval.weights import SearchWeights

    weights = weights or SearchWeights()
    pool, share = (max(POOL, k) if weights.tokens else k), weights.words_share

    words, name = Bm25Encoder(), "collection"
    with tempfile.TemporaryDirectory(prefix="lorag-") as folder:
        store = EdgeStore(Path(folder))
        try:
            store.create(name, embedded.passages.shape[1], {}, {})
            for start in range(0, len(embedded.passage_ids), _EMBED_BATCH):
                ids = embedded.passage_ids[start : start + _EMBED_BATCH]
                vectors = embedded.passages[start : start + _EMBED_BATCH]
                store.upsert(
                    name, [_point(i, v, words.passage(collection.passages[i])) for i, v in zip(ids, vectors, strict=True)]
                )
            store.optimise(name)
            queries = zip(embedded.query_ids, embedded.queries, strict=True)
            searches = [
                Search(vector.tolist(), words.query(collection.queries[query]) if share else None, share)
                for query, vector in queries
            ]
            found = store.search(name, searches, 2 * pool + _TIES)
        finally:
            store.close()
    run = {
        query: rank(Scored(str(point.payload["id"]), point.score) for point in points)[:pool]
        for query, points in zip(embedded.query_ids, found, strict=True)
    }
    return _late(collection, run, LateInteraction(embedder), k, weights) if weights.tokens else run


def pool_size(k: int) -> int:
    """The number of hits that a reranker gets to choose `k`, as in serving."""
    from lorag.pipeline.stages.retriever import RERANK_POOL

    return max(RERANK_POOL, 4 * k)


def rerank(collection: BeirCollection, run: Run, reranker: Reranker) -> dict[str, tuple[Scored, ...]]:
    """Each ranking in the order of `reranker`'s scores."""
    found = {}
    for query, ranking in run.items():
        hits = [Hit(_passage(scored.passage_id, collection.passages), scored.score) for scored in ranking]
        ordered = reranker.rerank(collection.queries[query], hits, len(hits))
        found[query] = rank(Scored(hit.passage.id, hit.score) for hit in ordered)
    return found


def _late(
    collection: BeirCollection, run: Run, late: LateInteraction, k: int, weights: SearchWeights
) -> dict[str, tuple[Scored, ...]]:
    found = {}
    for query, ranking in run.items():
        hits = [Hit(_passage(scored.passage_id, collection.passages), scored.score) for scored in ranking]
        (ordered,) = late.rerank_many([collection.queries[query]], [hits], k, weights)
        found[query] = tuple(Scored(hit.passage.id, hit.score) for hit in ordered)
    return found


def _point(passage_id: str, vector: NDArray[np.float32], words: Sparse) -> Point:
    return Point(str(uuid.uuid5(uuid.NAMESPACE_OID, passage_id)), vector.tolist(), words, {"id": passage_id})


def _passage(passage_id: str, texts: Mapping[str, str]) -> Passage:
    text = texts[passage_id]
    return Passage(passage_id, passage_id, "", "", "", text, 0, len(text))


def _best(scores: NDArray[np.float32], passage_ids: Sequence[str], k: int) -> tuple[Scored, ...]:
    if k < len(scores):
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= edge)
    else:
        candidates = np.arange(len(scores))
    return rank(Scored(passage_ids[at], float(scores[at])) for at in candidates.tolist())[:k]


def _embed(
    embed: Callable[[list[str]], NDArray[np.float32]], texts: list[str], done: int, total: int, progress: Progress | None
) -> NDArray[np.float32]:
    blocks: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), _EMBED_BATCH):
        blocks.append(np.asarray(embed(texts[start : start + _EMBED_BATCH]), dtype=np.float32))
        if progress is not None:
            progress(done + min(start + _EMBED_BATCH, len(texts)), total)
    return np.concatenate(blocks)
