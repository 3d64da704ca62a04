"""Rewrites, by hand."""

from __future__ import annotations

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.rewrites import GoldRewrite, entity_recall, named_entities, score_rewrites
from lorag.pipeline.evaluation.scores import Mean
from lorag.pipeline.records import Outcome, Rewrite


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What did Marie Curie discover in 1898?", {"marie", "curie", "1898"}),
        ("How is error E-42 of the RX200 cleared?", {"e-42", "rx200"}),
        ("NASA's budget? The rocket. Ariane is next", {"nasa"}),  # a capital that opens a sentence says nothing
        ("is Paris's mayor known", {"paris"}),
        ("nothing here", set()),
    ],
)
def test_entities_are_names_codes_and_numbers(text: str, found: set[str]) -> None:
    assert named_entities(text) == found


@pytest.mark.parametrize(
    ("question", "rewrite", "gold", "recall"),
    [
        ("When did she die?", "when did marie die", "When did Marie Curie die?", 1 / 2),
        ("When did Curie die?", "When did she die?", "When did Curie die?", None),  # the raw question has it already
        ("And its E-42 code?", "What is E-42 of the RX200?", "What is the E-42 code of the RX200?", 1.0),
    ],
)
def test_entity_recall(question: str, rewrite: str, gold: str, recall: float | None) -> None:
    assert entity_recall(question, rewrite, gold) == recall


def test_a_table_of_turns() -> None:
    golds = [
        GoldRewrite("1", "When did she die?", ("When did Marie Curie die?",), "c1"),
        GoldRewrite("2", "Who was Marie Curie?", ("who was Marie Curie",), "c1"),
        GoldRewrite("3", "Who was Marie Curie?", ("Who was Marie Curie?",), "c2"),
        GoldRewrite("4", "And Pierre?", ("Who was Pierre Curie?",)),
        GoldRewrite("5", "Why?", ("Why did it fail?",)),
    ]
    table = score_rewrites(
        golds,
        {
            "1": Rewrite("When did Marie die?", Outcome.OK),
            "2": Rewrite("Who was Marie Curie?", Outcome.OK),
            "3": Rewrite("Who was Pierre Curie?", Outcome.OK),
            "4": Rewrite("And Pierre?", Outcome.UNPARSED, "???"),
            "5": Rewrite("Why?", Outcome.FAILED),
        },
    )
    assert table.values("EM") == {"1": 0.0, "2": 1.0, "3": 0.0, "4": 0.0}
    # 4 of 4 and 5 words; equal; 3 of 4 and 4; "pierre" of 2 and 4
    assert table.values("ROUGE-1") == pytest.approx({"1": 8 / 9, "2": 1.0, "3": 3 / 4, "4": 2 / 6})
    assert table.values("entity recall") == {"1": 1 / 2, "4": 0.0}
    assert table.means()["harm on standalone turns"] == Mean(1 / 2, 2)
    assert (table.ids(Outcome.UNPARSED), table.ids(Outcome.FAILED)) == (("4",), ("5",))
    assert [item.group for item in table.items] == ["c1", "c1", "c2", "4", "5"]


def test_the_best_of_several_human_rewrites_counts() -> None:
    gold = GoldRewrite("1", "And Rome?", ("How old is Rome?", "What about Rome in Italy?"))
    found = score_rewrites([gold], {"1": Rewrite("How old is Rome?", Outcome.OK)}).items[0].values
    assert found == {"EM": 1.0, "ROUGE-1": 1.0, "rewrite word order": 1.0, "entity recall": 0.0}


def test_bad_input_is_refused() -> None:
    gold = GoldRewrite("1", "Why?", ("Why so?",))
    with pytest.raises(InputError, match="turn '1' has no rewrite record"):
        score_rewrites([gold], {})
    with pytest.raises(InputError, match="turn '1' has no gold rewrite"):
        score_rewrites([GoldRewrite("1", "Why?", ())], {"1": Rewrite("x", Outcome.OK)})
