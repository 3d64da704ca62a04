"""Rewrites, by hand."""

from __future__ import annotations

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.rewrites import GoldRewrite, score_rewrites
from lorag.pipeline.evaluation.scores import Mean
from lorag.pipeline.records import Outcome, Rewrite


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
    values = {"values kept in rewrites": 1.0, "values kept of questions": 1.0, "values invented in rewrites": 0.0}
    assert found == {"EM": 1.0, "ROUGE-1": 1.0, "rewrite word order": 1.0, "entity recall": 0.0, **values}


@pytest.mark.parametrize(
    ("rewrite", "kept", "of_question", "invented"),
    [
        ("Does the pump P-12 on Old Raz need 5 kg?", 1.0, 1.0, 0.0),
        ("On Old Raz, does P-12 need 5,000 g?", 1.0, 1.0, 0.0),  # the same mass
        ("Does the pump P-99 on Old Raz need 9 kg?", 2 / 4, 0.0, 1.0),
        ("Does the pump on Old Raz need any?", 2 / 4, 0.0, 0.0),
        ("Does the pump P-12 on Wexcombe need 5 kg?", 2 / 4, 1.0, 1.0),
        ("Does P-12 need 5 kg?", 2 / 4, 1.0, 0.0),
        ("Does P-12 on Old Raz, not P-7, need 5 kg?", 1.0, 1.0, 0.0),  # P-7 is of the conversation
    ],
)
def test_values_kept_and_invented(rewrite: str, kept: float, of_question: float, invented: float) -> None:
    """Values of the gold rewrite: P-12, Old, Raz, 5 kg. The question has P-12 and 5 kg of its own."""
    gold = GoldRewrite("1", "Does P-12 there need 5 kg?", ("Does the pump P-12 on Old Raz need 5 kg?",))
    found = score_rewrites([gold], {"1": Rewrite(rewrite, Outcome.OK)}, {"1": "Is P-7 on Old Raz?\nYes."}).items[0].values
    assert found["values kept in rewrites"] == kept and found["values kept of questions"] == of_question
    assert found["values invented in rewrites"] == invented


def test_bad_input_is_refused() -> None:
    gold = GoldRewrite("1", "Why?", ("Why so?",))
    with pytest.raises(InputError, match="turn '1' has no rewrite record"):
        score_rewrites([gold], {})
    with pytest.raises(InputError, match="turn '1' has no gold rewrite"):
        score_rewrites([GoldRewrite("1", "Why?", ())], {"1": Rewrite("x", Outcome.OK)})
