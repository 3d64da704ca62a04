"""Judgments by construction: each label is right by how it was made."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.grouping import Grouping
from lorag.training.data.making.judge_rows import judge_rows
from lorag.training.data.making.records import SpanKind
from lorag.training.data.making.swaps import negated, other_value, values_of, with_other_value
from lorag.training.data.rows import JudgeRow, document_of
from tests.training.data.making.made import accepted, passage

TANKS = [
    passage(f"d{n}.md#{at}", f"Tank {n}x{at} holds {n}{at}0 kg. It must be empty on {at + 1} May by D{n}{at}.", f"Tank {n}x{at}")
    for n in range(6)
    for at in range(3)
]  # fmt: skip
CORPUS = Corpus(
    {row.id: row for row in TANKS},
    Grouping(
        {f"d{n}.md": f"d{n}.md" for n in range(6)},
        {f"d{n}.md": "train" if n < 4 else "test" for n in range(6)},
        frozenset(),
    ),
)
RANKING = tuple(row.id for row in TANKS)
ASKED = [
    replace(accepted(row, f"{n}{at}0 kg", f"How much does the tank {n}x{at} take?"), ranking=(row.id, *RANKING[:9]))
    for row, (n, at) in zip(TANKS, [(n, at) for n in range(6) for at in range(3)], strict=True)
]


def rows() -> list[JudgeRow]:
    return [each.row for each in judge_rows(ASKED, CORPUS) if isinstance(each.row, JudgeRow)]


def test_every_question_gives_two_judgments_a_task() -> None:
    found = rows()
    assert Counter(row.task for row in found) == {"relevance": 36, "answerability": 36, "support": 36}
    labels = Counter((row.task, row.label) for row in found)
    assert labels["relevance", "3"] == labels["answerability", "answerable"] == labels["support", "supported"] == 18
    assert min(labels["relevance", label] for label in ("0", "1")) > 0
    assert all(row.origin is DataOrigin.MADE for row in found)
    assert len({row.id for row in found}) == len(found)


def test_all_passages_lie_on_the_questions_side() -> None:
    for each in judge_rows(ASKED, CORPUS):
        assert isinstance(each.row, JudgeRow)
        assert {CORPUS.grouping.split_of(name) for name in each.row.passage_ids} == {each.split}


def test_labels_are_right_by_how_they_were_made() -> None:
    answers = {each.candidate.question: each.candidate.span.text for each in ASKED}
    for row in rows():
        shown, asked = " ".join(text.text for text in row.inputs.passages), row.inputs.question
        if row.task == "support":
            claim = row.inputs.answer
            if row.label == "supported":
                assert claim in shown
            elif asked and claim in shown:  # the right answer to another question
                assert claim != answers[asked]
            else:
                assert claim not in shown
        elif ", and " in asked:
            assert row.label == "2"
            assert document_of(row.passage_ids[0]) in {document_of(each.candidate.span.passage_id) for each in ASKED}
        else:
            assert (answers[asked] in shown) is (row.label in ("3", "answerable"))


VALUES = values_of(
    [passage("d.md#1", "It weighs 5 kg or 7 kg, 8 m long, since 6 May and 9 June. Ask Elke Dray or Old Nils Brandt.")]
)


@pytest.mark.parametrize(
    ("statement", "changed"),
    [
        ("The anchor weighs 5 kg.", {"The anchor weighs 7 kg."}),
        ("The anchor is 8 m long.", {""}),  # no other length
        ("It has hung there since 6 May.", {"It has hung there since 9 June."}),
        ("We asked Elke Dray, who had 5 kg.", {"We asked Elke Dray, who had 7 kg."}),
        ("Nobody knows.", {""}),
    ],
)
def test_a_value_is_swapped_with_one_of_its_kind_and_form(statement: str, changed: set[str]) -> None:
    assert with_other_value(statement, VALUES, "key") in changed


@pytest.mark.parametrize(
    ("statement", "opposite"),
    [
        ("The pool is emptied.", "The pool is not emptied."),
        ("It must not be opened.", "It must be opened."),
        ("Nobody knows it.", ""),
    ],
)
def test_negation(statement: str, opposite: str) -> None:
    assert negated(statement) == opposite


def test_another_value_is_drawn_by_its_key() -> None:
    values = values_of([passage("d.md#1", " ".join(f"It weighs {n} kg." for n in range(20, 40)))])
    drawn = {other_value(SpanKind.QUANTITY, "25 kg", values, key) for key in range(30)}
    assert len(drawn) > 5
    assert "25 kg" not in drawn
