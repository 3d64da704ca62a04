"""Raw, rewritten and gold question searched for, and harm on turns that stand alone; figures by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lorag.pipeline.evaluation.ablation import NDCG, RECALL, ChainItem, Configuration, Measured, Search
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.rewrite_retrieval import Harm, RewriteRetrieval, Row, compare_rewrites
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Hit, Outcome, Passage, Query, Rewrite, Speaker, Turn
from lorag.pipeline.stages import Retriever

HISTORY = (Turn(Speaker.USER, "Who keeps the key?"),)
SECOND = 1 / math.log2(3)


class Known:
    """Finds what it was told to find."""

    def __init__(self, found: Mapping[str, Sequence[str]]) -> None:
        self._found = found
        self.asked: list[str] = []

    def search_many(self, questions: Sequence[str], k: int, **options: Any) -> list[list[Hit]]:
        self.asked += questions
        return [[Hit(passage(name), 1 - place / 10) for place, name in enumerate(self._found[q])] for q in questions]


def passage(name: str) -> Passage:
    return Passage(name, name, "", "", "", "text", 0, 4)


def turn(name: str, question: str, gold_rewrite: str, *, history: Sequence[Turn] = HISTORY, answerable: bool = True) -> ChainItem:
    gold = GoldAnswer(name, ("x",), answerable, ("p",) if answerable else ())
    return ChainItem(Query(question, tuple(history)), gold, gold_rewrite, answered=False)


def measured(name: str, rewrites: Mapping[str, str | None], ndcg: Mapping[str, float]) -> Measured:
    searches = {
        id_: Search(Rewrite(text or "", Outcome.OK if text is not None else Outcome.FAILED), ()) for id_, text in rewrites.items()
    }
    rows = tuple(ItemScores(id_, id_, Outcome.OK, {NDCG: value, RECALL: float(value > 0)}) for id_, value in ndcg.items())
    empty = ScoreTable(())
    return Measured(Configuration(name, frozenset()), empty, ScoreTable(rows), empty, (), {}, searches)


ITEMS = (
    turn("t1", "And at night?", "Who keeps the key at night?"),
    turn("t2", "Where is the bell?", "Where is the bell?"),  # stands alone already
    turn("t3", "Hm?", ""),  # no gold rewrite is known
    turn("t4", "Why?", "Why is that?", answerable=False),
    turn("t5", "Plain?", "Plain?", history=()),
)
FOUND = {
    "And at night?": ["a", "b"],
    "Who keeps the key at night?": ["p"],
    "Where is the bell?": ["p", "a"],
}


def test_raw_rewritten_and_gold_side_by_side() -> None:
    base = measured("base chain", {"t1": "And at night?", "t2": "Where is the bell?"}, {"t1": 0.0, "t2": 1.0})
    tuned = measured("+ rewriter", {"t1": "Who keeps it at night?", "t2": "Where is the key?"}, {"t1": SECOND, "t2": SECOND})
    index = Known(FOUND)
    found = compare_rewrites(ITEMS, (base, tuned), Retriever(index))
    assert index.asked == ["And at night?", "Where is the bell?", "Who keeps the key at night?", "Where is the bell?"]
    assert [row.name for row in found.rows] == ["raw question", "base chain", "+ rewriter", "gold rewrite"]
    assert [(row.n, row.ndcg, row.recall) for row in found.rows] == [
        (2, 0.5, 0.5),
        (2, 0.5, 0.5),
        (2, pytest.approx(SECOND), 1.0),
        (2, 1.0, 1.0),
    ]
    assert found.harm == (Harm("base chain", 1, 0.0, 0.0), Harm("+ rewriter", 1, 1.0, pytest.approx(1 - SECOND)))


def test_a_turn_that_failed_anywhere_is_left_out_of_all_rows() -> None:
    base = measured("base chain", {"t1": "And at night?", "t2": "Where is the bell?"}, {"t1": 0.0, "t2": 1.0})
    tuned = measured("+ rewriter", {"t1": None, "t2": "Where is the bell?"}, {"t2": 1.0})
    found = compare_rewrites(ITEMS, (base, tuned), Retriever(Known(FOUND)))
    assert found.rows[0] == Row("raw question", 1, 1.0, 1.0)
    assert {row.n for row in found.rows} == {1}


def test_without_turns_there_is_nothing() -> None:
    assert compare_rewrites(ITEMS[2:], (), Retriever(Known({}))) == RewriteRetrieval()
