"""Accepted questions → the embedder's rows: the question, the passages that answer it, and hard negatives."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.records import Role
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.records import Accepted, MadeRow
from lorag.training.data.rows import EmbedRow


def embedder_rows(accepted: Sequence[Accepted], corpus: Corpus, negatives: int) -> list[MadeRow]:
    """One row a question, with at most `negatives` hard negatives."""
    return [
        MadeRow(Role.EMBEDDER, corpus.split_of(each), _row(each, corpus, negatives), (each,), "question") for each in accepted
    ]


def _row(each: Accepted, corpus: Corpus, negatives: int) -> EmbedRow:
    return EmbedRow(
        each.candidate.id,
        each.candidate.question,
        corpus.positives(each),
        corpus.negatives(each, negatives),
        corpus.group_of(each),
        DataOrigin.MADE,
    )
