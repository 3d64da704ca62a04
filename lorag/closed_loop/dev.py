"""Search as it serves, measured on dev questions: which encoder the later stages of the loop are trained with."""

from __future__ import annotations

from lorag.assembly import serving_retrieval
from lorag.pipeline.config import Settings
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.trec import Scored
from lorag.training.dataset import DataFolder
from lorag.training.passage_search import PassageSearch

METRIC = "nDCG@10"
DEPTH = 10


def ndcg_on_dev(settings: Settings, data: DataFolder) -> float:
    """The mean nDCG@10 of the search that `settings` describe, on `data`/dev/embedder.jsonl. Raises DataError."""
    rows = data.embed_rows("dev")
    with PassageSearch(data.passages(), serving_retrieval(settings)) as search:
        found = search.find([row.query for row in rows], DEPTH, training=False)
    ranked = {
        row.query_id: tuple(Scored(id_, float(DEPTH - place)) for place, id_ in enumerate(ids))
        for row, ids in zip(rows, found, strict=True)
    }
    qrels = {row.query_id: dict.fromkeys(row.positive_ids, 1) for row in rows}
    return score_run(qrels, ranked, (METRIC,)).means[METRIC]
