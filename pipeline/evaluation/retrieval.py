"""Scores rankings against relevance judgments, and runs an embedder over a BEIR folder by exhaustive search.

The metrics are ir-measures' (over pytrec_eval), by name: `nDCG@k` (linear gain), `Recall@k`, `P@k`, `MRR@k`, `MAP` and
`Success@k` (hit rate). The means are over every judged query: one without results counts with the metric's default of 0,
it is not skipped. This module knows no store and no index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.evaluation.beir import read_beir
from pipeline.evaluation.trec import Qrels, Run, Scored, rank

if TYPE_CHECKING:
    from pipeline.retrieval.embedder import Embedder

Progress = Callable[[int, int], None]
"""Called with (texts embedded, texts in all)."""

_MEASURES = {"nDCG": "nDCG", "Recall": "R", "P": "P", "MRR": "RR", "MAP": "AP", "Success": "Success"}
_NEEDS_CUTOFF = frozenset({"Recall", "P", "Success"})
_EMBED_BATCH = 256
_SCORE_CELLS = 1 << 24  # scores held at once: 64 MiB of float32


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """Scores of a run. `means`: metric name → mean over `queries` judged queries; `per_query`: metric name → query id →
    value; `without_results`: judged queries the run has nothing for; `not_judged`: queries of the run that have no
    judgments and therefore no score."""

    means: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    queries: int
    without_results: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `lorag eval retrieval -o json` prints."""
        return {"metrics": dict(self.means), "queries": self.queries}


@dataclass(frozen=True, slots=True)
class BeirResult:
    """What `evaluate_beir` found: the scores and the run they come from."""

    scores: RetrievalScores
    run: Run


def default_metrics(k: int) -> tuple[str, ...]:
    """The three figures every retrieval table here shows, at depth `k`."""
    return (f"nDCG@{k}", f"Recall@{k}", f"MRR@{k}")


def score_run(qrels: Qrels, run: Run, metrics: Sequence[str]) -> RetrievalScores:
    """Score each judged query of `qrels` and take the means.

    The order of each ranking counts, not its scores, so that ties cannot be broken differently by different metrics.
    Raises InputError for an unknown metric, for empty judgments and for a passage that stands twice in a ranking.
    """
    import ir_measures

    if not qrels:
        raise InputError("there are no relevance judgments to score against")
    measures = {_measure(name): name for name in metrics}
    per_query: dict[str, dict[str, float]] = {name: {} for name in metrics}
    judged = {query: dict(relevances) for query, relevances in qrels.items()}
    ranked = {query: _descending(query, ranking) for query, ranking in run.items() if query in qrels}
    for found in ir_measures.iter_calc(list(measures), judged, ranked):
        per_query[measures[found.measure]][found.query_id] = float(found.value)
    ordered = {name: {query: values[query] for query in qrels} for name, values in per_query.items()}
    return RetrievalScores(
        means={name: float(np.mean(list(values.values()))) for name, values in ordered.items()},
        per_query=ordered,
        queries=len(qrels),
        without_results=tuple(query for query in qrels if not run.get(query)),
        not_judged=tuple(query for query in run if query not in qrels),
    )


def search(
    query_vectors: NDArray[np.float32],
    query_ids: Sequence[str],
    passage_vectors: NDArray[np.float32],
    passage_ids: Sequence[str],
    k: int,
) -> dict[str, tuple[Scored, ...]]:
    """The exact `k` best passages of each query by inner product; vectors are (queries, d) and (passages, d).

    Equal scores are ordered as `trec.rank` does, also at the edge of the k best. Raises InputError where rows and ids differ.
    """
    for name, vectors, ids in (("query", query_vectors, query_ids), ("passage", passage_vectors, passage_ids)):
        if vectors.ndim != 2 or len(vectors) != len(ids):
            raise InputError(f"{len(ids)} {name} ids but vectors of shape {vectors.shape}; one row an id is needed")
    run: dict[str, tuple[Scored, ...]] = {}
    step = max(1, _SCORE_CELLS // max(1, len(passage_ids)))
    for start in range(0, len(query_ids), step):
        scores = query_vectors[start : start + step] @ passage_vectors.T
        for query_id, row in zip(query_ids[start : start + step], scores, strict=True):
            run[query_id] = _best(row, passage_ids, k)
    return run


def evaluate_beir(
    folder: Path,
    embedder: Embedder,
    k: int = 10,
    *,
    split: str = "test",
    metrics: Sequence[str] = (),
    ignore_same_id: bool = False,
    progress: Progress | None = None,
) -> BeirResult:
    """Embed a BEIR folder, search it exhaustively and score the `k` best; `metrics` are `default_metrics(k)` unless named.

    `ignore_same_id` drops a passage with the query's own id, which ArguAna and Quora need: their queries are passages.
    Raises DataError for a broken folder and InputError for `k` below 1 or an unknown metric.
    """
    if k < 1:
        raise InputError(f"k is {k}; at least 1 passage must be looked at")
    names = tuple(metrics) or default_metrics(k)
    for name in names:
        _measure(name)
    collection = read_beir(folder, split)
    passage_ids, query_ids = list(collection.passages), list(collection.queries)
    total = len(passage_ids) + len(query_ids)
    passages = _embed(embedder.embed_passages, list(collection.passages.values()), 0, total, progress)
    queries = _embed(embedder.embed_queries, list(collection.queries.values()), len(passage_ids), total, progress)
    found = search(queries, query_ids, passages, passage_ids, k + ignore_same_id)
    if ignore_same_id:
        found = {query: tuple(hit for hit in hits if hit.passage_id != query)[:k] for query, hits in found.items()}
    return BeirResult(score_run(collection.qrels, found, names), found)


def _measure(name: str) -> Any:
    import ir_measures

    base, _, cutoff = name.partition("@")
    bad_cutoff = ("@" in name and not (cutoff.isdecimal() and int(cutoff) > 0)) or ("@" not in name and base in _NEEDS_CUTOFF)
    if base not in _MEASURES or bad_cutoff:
        raise InputError(f"unknown retrieval metric {name!r}; known: nDCG@k, Recall@k, P@k, MRR@k, MAP, Success@k")
    return ir_measures.parse_measure(_MEASURES[base] + (f"@{int(cutoff)}" if cutoff else ""))


def _descending(query: str, ranking: Sequence[Scored]) -> dict[str, float]:
    """Passage id → a score that falls by one a place: free of ties, and exact in trec_eval's single precision."""
    places = {scored.passage_id: float(len(ranking) - place) for place, scored in enumerate(ranking)}
    if len(places) != len(ranking):
        raise InputError(f"query {query!r}: a passage stands twice in its ranking; each may count once")
    return places


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
