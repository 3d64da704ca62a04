"""Which questions become rows of an embedder, and what they hold."""

from __future__ import annotations

from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.embedder_rows import embedder_rows
from lorag.training.data.making.grouping import Grouping
from lorag.training.data.making.records import Filter, Rejected
from lorag.training.data.rows import EmbedRow
from tests.training.data.making.made import accepted, candidate, passage, span

POOL = passage("pool.md#0", "The pool holds 440 m³ and is 25 m long.")
HALL = passage("hall.md#0", "The hall seats 90 people.")
SPLIT = {"pool.md": "train", "hall.md": "test"}
CORPUS = Corpus({row.id: row for row in (POOL, HALL)}, Grouping({name: name for name in SPLIT}, SPLIT, frozenset()))


def test_training_has_the_other_questions_that_find_their_passage_too() -> None:
    passed = accepted(POOL, "440 m³", "How much does the pool hold?")
    length, seats = span(POOL, "25 m"), span(HALL, "90 people")
    dropped = [
        Rejected(candidate(length, "How deep is the pool?"), Filter.AGREEMENT, ""),
        Rejected(candidate(length, "How much does the pool hold"), Filter.SPAN, ""),  # said already
        Rejected(candidate(length, "How many people swim?"), Filter.QUOTA, ""),
        Rejected(candidate(length, "How long is the pool of the castle?"), Filter.UNFOUNDED, ""),
        Rejected(candidate(length, "Is the pool long, and how long?"), Filter.ROUND_TRIP, ""),
        Rejected(candidate(length, "How long is a pool of 440 m³?"), Filter.DUPLICATE, "the same as a copied one"),
        Rejected(candidate(seats, "How many chairs are in the hall?"), Filter.AGREEMENT, ""),  # a test document
    ]
    rows = embedder_rows([passed], dropped, CORPUS, 4)
    assert [(row.row.query, row.how) for row in rows if isinstance(row.row, EmbedRow)] == [
        ("How much does the pool hold?", "question"),
        ("How deep is the pool?", "question that finds its passage"),
        ("How many people swim?", "question that finds its passage"),
    ]
    assert all(isinstance(row.row, EmbedRow) and row.row.positive_ids == (POOL.id,) for row in rows)
