"""Questions without an answer, of three kinds, and the embedder's negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.stages import Judge
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.grouping import Grouping
from lorag.training.data.making.records import Accepted
from lorag.training.data.making.unanswerable import Missing, Unanswerable, removed, swapped, take, withheld
from tests.training.data.making.made import accepted, passage

POOL = passage(
    "pool.md#1", "The pool of Hask holds 440 m³ of water. Nobody may enter it alone, and the gate is shut at night.", "Pool"
)
DOCK = passage("dock.md#1", "The dock of Tollan is 90 m long and has two cranes, which nobody uses at night.", "Dock")
FAR = passage("far.md#1", "The road to Sorrel is closed in winter.", "Road")
PASSAGES = (POOL, DOCK, FAR)
CORPUS = Corpus(
    {row.id: row for row in PASSAGES},
    Grouping(
        {"pool.md": "pool.md", "dock.md": "dock.md", "far.md": "far.md"},
        {"pool.md": "train", "dock.md": "train", "far.md": "test"},
        frozenset(),
    ),
)
ASKED = accepted(POOL, "440 m³", "How much does the pool in Hask hold?")


def test_withheld_ones_have_no_passage_that_may_answer() -> None:
    assert [each.question for each in withheld([ASKED, replace(ASKED, barred=("dock.md#1",))])] == [ASKED.candidate.question]


def test_removed_ones_lose_the_sentence_and_keep_the_rest() -> None:
    found = removed([ASKED], CORPUS)
    assert [each.removed for each in found] == ["The pool of Hask holds 440 m³ of water."]
    assert removed([replace(ASKED, also=("dock.md#1",))], CORPUS) == []
    assert removed([accepted(FAR, "in winter", "When is the road closed?")], CORPUS) == []  # nothing else stands there


class Finds:
    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def find(self, questions: Sequence[str], k: int) -> list[list[str]]:
        return [list(self.ids) for _ in questions]

    find_by_words = find


def judge(answerable: float) -> Judge:
    return Judge(ScriptedEngine(scorer=lambda request: [answerable, 1 - answerable]))


def test_a_name_is_swapped_with_one_of_the_same_side() -> None:
    found = swapped([ASKED], CORPUS, Finds("pool.md#1", "far.md#1"), judge(0.1))
    assert [each.question for each in found] == ["How much does the pool in Tollan hold?"]  # Sorrel is of another split
    assert found[0].ranking == ("pool.md#1", "far.md#1")


def test_a_swap_that_may_be_answered_is_not_made() -> None:
    answering = passage("other.md#1", "How much the pool in Tollan can hold is not known.")
    corpus = replace(CORPUS, passages={**CORPUS.passages, answering.id: answering})
    corpus = replace(corpus, grouping=replace(corpus.grouping, split={**corpus.grouping.split, "other.md": "train"}))
    assert swapped([ASKED], corpus, Finds("other.md#1"), judge(0.1)) == []
    assert swapped([ASKED], CORPUS, Finds("pool.md#1"), judge(0.9)) == []
    assert swapped([accepted(POOL, "440 m³", "how much water is in it?")], CORPUS, Finds(), judge(0.1)) == []


@pytest.mark.parametrize(("count", "kinds"), [(3, [1, 1, 1]), (5, [2, 2, 1]), (9, [3, 3, 1])])
def test_kinds_are_taken_evenly_as_far_as_they_reach(count: int, kinds: list[int]) -> None:
    asked = [accepted(POOL, word, f"Which word is {word}?") for word in POOL.text.split()[:3]]
    pools = {
        Missing.WITHHELD: withheld(asked),
        Missing.REMOVED: [Unanswerable(each, Missing.REMOVED, "?") for each in asked],
        Missing.SWAPPED: [Unanswerable(asked[0], Missing.SWAPPED, "?")],
    }
    taken = take(pools, count)
    assert [sum(each.kind is kind for each in taken) for kind in pools] == kinds
    if count == 3:
        assert len({each.source.candidate.id for each in taken}) == 3


def test_negatives_are_hard_ones_of_the_own_side_that_answer_nothing() -> None:
    copy = passage("copy.md#1", POOL.text)
    corpus = replace(CORPUS, passages={**CORPUS.passages, copy.id: copy})
    corpus = replace(corpus, grouping=replace(corpus.grouping, split={**corpus.grouping.split, "copy.md": "train"}))
    ranked: Accepted = replace(ASKED, ranking=("copy.md#1", "far.md#1", "pool.md#1", "dock.md#1"))
    assert corpus.negatives(ranked, 4) == ("dock.md#1",)
    assert corpus.negatives(replace(ranked, barred=("dock.md#1",)), 4) == ()


def test_a_test_question_that_the_other_side_answers_too_is_not_one_sided() -> None:
    held_out = accepted(FAR, "in winter", "When is the road to Sorrel closed?")
    assert CORPUS.is_one_sided(held_out)
    assert not CORPUS.is_one_sided(replace(held_out, also=("pool.md#1",)))
    assert CORPUS.positives(replace(ASKED, also=("far.md#1", "dock.md#1"))) == ("pool.md#1", "dock.md#1")
