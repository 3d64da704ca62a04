"""Scores rankings against relevance judgments, and evaluates an embedder on a BEIR folder.

The metrics are ir-measures' (over pytrec_eval), by name: `nDCG@k` (linear gain), `Recall@k`, `P@k`, `MRR@k`, `MAP` or `MAP@k`
and `Success@k` (hit rate). The means are over every judged query: one without results counts with the metric's default of 0 and
is not skipped. `searching` makes the rankings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.beir import read_beir
from lorag.pipeline.evaluation.searching import Progress, embed_collection, pool_size, rerank, search, search_hybrid
from lorag.pipeline.evaluation.trec import Qrels, Run, Scored

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.pipeline.retrieval.rerank import Reranker

_MEASURES = {"nDCG": "nDCG", "Recall": "R", "P": "P", "MRR": "RR", "MAP": "AP", "Success": "Success"}
_NEEDS_CUTOFF = frozenset({"Recall", "P", "Success"})


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """Scores of a run. `means`: metric name → mean over `queries` judged queries; `per_query`: metric name → query id → value;
    `without_results`: judged queries without results in the run; `not_judged`: queries of the run without judgments, which have
    no score."""

    means: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    queries: int
    without_results: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The output of `lorag eval retrieval -o json`."""
        return {
            "metrics": dict(self.means),
            "queries": self.queries,
            "without_results": list(self.without_results),
            "not_judged": list(self.not_judged),
        }


@dataclass(frozen=True, slots=True)
class BeirResult:
    """The result of `evaluate_beir`: the scores, their run and their judgments."""

    scores: RetrievalScores
    run: Run
    qrels: Qrels


def default_metrics(k: int) -> tuple[str, ...]:
    """All metrics at depth `k`."""
    return tuple(f"{name}@{k}" for name in _MEASURES)


def score_run(qrels: Qrels, run: Run, metrics: Sequence[str]) -> RetrievalScores:
    """Score each judged query of `qrels` and take the means.

    The order of each ranking counts, not its scores, so that all metrics break ties alike. Raises InputError for an unknown
    metric, for empty judgments, a score that is not finite and a repeated passage in a ranking.
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


def evaluate_beir(
    folder: Path,
    embedder: Embedder,
    k: int = 10,
    *,
    split: str = "test",
    metrics: Sequence[str] = (),
    ignore_same_id: bool = False,
    hybrid: bool = False,
    reranker: Reranker | None = None,
    progress: Progress | None = None,
) -> BeirResult:
    """Embed a BEIR folder, search it and score the `k` best; `metrics` are `default_metrics(k)` unless named.

    The search is exhaustive; with `hybrid` it is that of an index: vectors, BM25 words and token vectors. A `reranker` chooses
    the `k` from a larger pool. `ignore_same_id` drops a passage with the query's own id, which ArguAna and Quora need: their
    queries are passages.
    Raises DataError for a broken folder and InputError for `k` below 1 or an unknown metric.
    """
    if k < 1:
        raise InputError(f"k is {k}; at least 1 passage must be looked at")
    names = tuple(metrics) or default_metrics(k)
    for name in names:
        _measure(name)
    collection = read_beir(folder, split)
    embedded = embed_collection(collection, embedder, progress)
    depth = (pool_size(k) if reranker else k) + ignore_same_id
    found = search_hybrid(embedded, collection, depth, embedder) if hybrid else search(embedded, depth)
    if ignore_same_id:
        found = {query: tuple(hit for hit in hits if hit.passage_id != query) for query, hits in found.items()}
    if reranker is not None:
        found = rerank(collection, found, reranker)
    found = {query: hits[:k] for query, hits in found.items()}
    return BeirResult(score_run(collection.qrels, found, names), found, collection.qrels)


def _measure(name: str) -> Any:
    import ir_measures

    base, _, cutoff = name.partition("@")
    bad_cutoff = ("@" in name and not (cutoff.isdecimal() and int(cutoff) > 0)) or ("@" not in name and base in _NEEDS_CUTOFF)
    if base not in _MEASURES or bad_cutoff:
        raise InputError(f"unknown retrieval metric {name!r}; known: nDCG@k, Recall@k, P@k, MRR@k, MAP, MAP@k, Success@k")
    return ir_measures.parse_measure(_MEASURES[base] + (f"@{int(cutoff)}" if cutoff else ""))


def _descending(query: str, ranking: Sequence[Scored]) -> dict[str, float]:
    """Passage id → a score that falls by one per rank: without ties, and exact in trec_eval's single precision."""
    places = {scored.passage_id: float(len(ranking) - place) for place, scored in enumerate(ranking)}
    if not all(math.isfinite(scored.score) for scored in ranking):
        raise InputError(f"query {query!r}: a score of its ranking is NaN or infinite, so its order means nothing; search anew")
    if len(places) != len(ranking):
        raise InputError(f"query {query!r}: a passage stands twice in its ranking; each may count once")
    return places
