"""Questions → the embedder's rows: the question, the passages that answer it, and hard negatives."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.evaluation.text import normalize_answer
from lorag.pipeline.records import Role
from lorag.training.data.formats.splitting import TRAIN
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.records import Accepted, Filter, MadeRow, Rejected
from lorag.training.data.rows import EmbedRow

FOUND = "question that finds its passage"
"""How a row was made on whose answer the voters do not agree."""

_AFTER_SEARCH = (Filter.AGREEMENT, Filter.SPAN, Filter.QUOTA)
"""What drops questions whose passage a search finds."""


def embedder_rows(accepted: Sequence[Accepted], rejected: Sequence[Rejected], corpus: Corpus, negatives: int) -> list[MadeRow]:
    """One row an accepted question, with at most `negatives` hard negatives, and one for training of each other question that
    finds its passage.

    An embedder learns where to look, not what the answer is. On the example's documents 188 accepted questions gave a third of
    what human rows give, with the others beside them four fifths (training/LOG.md).
    """
    rows = [
        MadeRow(Role.EMBEDDER, corpus.split_of(each), _row(each, corpus, negatives), (each,), "question") for each in accepted
    ]
    asked = {_said(each) for each in accepted}
    for dropped in rejected:
        each = Accepted(dropped.candidate)
        if dropped.filter in _AFTER_SEARCH and _said(each) not in asked and corpus.split_of(each) == TRAIN:
            asked.add(_said(each))
            rows.append(MadeRow(Role.EMBEDDER, TRAIN, _row(each, corpus, 0), (each,), FOUND))
    return rows


def _said(each: Accepted) -> tuple[str, str]:
    return each.candidate.span.passage_id, normalize_answer(each.candidate.question)


def _row(each: Accepted, corpus: Corpus, negatives: int) -> EmbedRow:
    return EmbedRow(
        each.candidate.id,
        each.candidate.question,
        corpus.positives(each),
        corpus.negatives(each, negatives),
        corpus.group_of(each),
        DataOrigin.MADE,
    )
