"""Accepted questions → the synthesizer's rows, with 15 to 20 % that have no answer.

Distractors are not in the rows: training shows what serving finds. Rows without an answer are of the kinds of `unanswerable`.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.records import Role
from lorag.pipeline.stages import Judge
from lorag.training.data.formats.splitting import DEV, TEST, TRAIN
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.records import Accepted, MadeRow
from lorag.training.data.making.round_trip import CorpusSearch
from lorag.training.data.making.unanswerable import Missing, Unanswerable, removed, swapped, take, withheld
from lorag.training.data.rows import QuestionRow

NEAR = 3


def synthesizer_rows(
    accepted: Sequence[Accepted], corpus: Corpus, search: CorpusSearch, judge: Judge, share: float
) -> list[MadeRow]:
    """One row a question, and in each split so many without an answer that they are `share` of it, if there are enough."""
    rows: list[MadeRow] = []
    for split in (TRAIN, DEV, TEST):
        own = [each for each in accepted if corpus.split_of(each) == split]
        rows += [MadeRow(Role.SYNTHESIZER, split, answered_row(each, corpus), (each,), "answered") for each in own]
        pools = {Missing.SWAPPED: swapped(own, corpus, search, judge)}
        if split != TEST:
            pools |= {Missing.WITHHELD: withheld(own), Missing.REMOVED: removed(own, corpus)}
        refused = take(pools, round(len(own) * share / (1 - share)))
        rows += [MadeRow(Role.SYNTHESIZER, split, refused_row(each, corpus), (each.source,), each.kind.value) for each in refused]
    return rows


def answer_of(accepted: Accepted) -> str:
    """The span on one line."""
    return " ".join(accepted.candidate.span.text.split())


def answered_row(each: Accepted, corpus: Corpus) -> QuestionRow:
    """The question with its span as answer and quote."""
    return QuestionRow(
        id=each.candidate.id,
        question=each.candidate.question,
        answers=(answer_of(each),),
        answerable=True,
        passage_ids=corpus.positives(each),
        near_ids=corpus.negatives(each, NEAR),
        quotes=(each.candidate.span.text,),
        answer_type=each.candidate.span.kind.value,
        group=corpus.group_of(each),
        origin=DataOrigin.MADE,
    )


def refused_row(each: Unanswerable, corpus: Corpus) -> QuestionRow:
    """The question without an answer. The passages of a withheld or removed one must not be shown, or not whole."""
    source = each.source
    near = corpus.negatives(source, NEAR)
    if each.kind is Missing.SWAPPED:
        near = tuple(corpus.shown_to(corpus.split_of(source), each.ranking)[:NEAR])
    return QuestionRow(
        id=each.id,
        question=each.question,
        answers=(),
        answerable=False,
        passage_ids=source.passage_ids if each.kind is not Missing.SWAPPED else (),
        near_ids=near,
        removed=(each.removed,) if each.removed else (),
        answer_type=each.kind.value,
        group=corpus.group_of(source),
        origin=DataOrigin.MADE,
    )
