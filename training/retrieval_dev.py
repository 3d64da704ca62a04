"""Dev metrics of the embedder during training: ranking dev questions' passages among others.

Knows no trainer and no model: the caller gives the two functions that embed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorag.pipeline.contracts import embed
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.searching import Embedded, search
from lorag.pipeline.records import Role
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.early_stopping import metric_of, require_dev_rows

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Vectors

NDCG = "nDCG@10"
METRICS = (NDCG, "MRR@10", "Recall@10")
"""The metrics that may decide early stopping, the default first."""

DEV_PASSAGES = 500
"""Passages that dev questions are searched in, with their own; all are embedded at each measurement."""

Embed = Callable[[Sequence[str]], "Vectors"]


@dataclass(frozen=True, slots=True)
class RetrievalDev:
    """Questions and the passages they are searched in. `metric` decides; higher is better."""

    rows: tuple[EmbedRow, ...]
    passages: tuple[PassageRow, ...]
    metric: str = NDCG

    def measure(self, embed_queries: Embed, embed_passages: Embed) -> dict[str, float]:
        """The mean of each of `METRICS` over the questions, by an exhaustive search of unit vectors."""
        found = Embedded(
            [row.query_id for row in self.rows],
            embed_queries([embed.query_text(row.query) for row in self.rows]),
            [passage.id for passage in self.passages],
            embed_passages([embed.passage_text(p.title, "", p.text) for p in self.passages]),
        )
        qrels = {row.query_id: dict.fromkeys(row.positive_ids, 1) for row in self.rows}
        return dict(score_run(qrels, search(found, 10), METRICS).means)


def retrieval_dev(
    rows: Sequence[EmbedRow], passages: Mapping[str, PassageRow], items: int, metric: str = "", seed: int = 0
) -> RetrievalDev:
    """At most `items` questions at random, their passages, and others up to `DEV_PASSAGES`.

    Raises TrainingError if there is no row, no such metric, or a row names an unknown passage.
    """
    decisive_metric = metric_of(Role.EMBEDDER, METRICS, metric)
    require_dev_rows(rows)
    draw = random.Random(seed)
    chosen = tuple(rows) if len(rows) <= items else tuple(draw.sample(list(rows), items))
    own = {passage_id: row.query_id for row in chosen for passage_id in row.positive_ids}
    for passage_id, query_id in own.items():
        if passage_id not in passages:
            raise TrainingError(f"dev row {query_id!r} names passage {passage_id!r}, which the passages do not hold")
    others = [passage_id for passage_id in passages if passage_id not in own]
    more = min(len(others), max(0, DEV_PASSAGES - len(own)))
    shown = [*own, *draw.sample(others, more)]
    return RetrievalDev(chosen, tuple(passages[passage_id] for passage_id in shown), decisive_metric)
