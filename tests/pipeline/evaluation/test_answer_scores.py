"""Answers, by hand: the SQuAD rules, citations, quotes, refusals, and what unparsed and failed items count as."""

from __future__ import annotations

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.answers import GoldAnswer, quotes_overlap, score_answers
from lorag.pipeline.evaluation.scores import Mean, pair
from lorag.pipeline.evaluation.text import exact_match, normalize_answer, rouge_f1, token_f1, word_order
from lorag.pipeline.records import Answer, Citation, Outcome


def answer(text: str, *cited: str, refused: bool = False, outcome: Outcome = Outcome.OK, reply: str = "") -> Answer:
    citations = tuple(
        Citation(number, passage, "f.md", quote or "q", 0, 1)
        for number, (passage, _, quote) in enumerate((each.partition("|") for each in cited), start=1)
    )
    return Answer(text, refused, citations, outcome, reply)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Eiffel-Tower!", "eiffeltower"),
        ("An apple, a day", "apple day"),
        ("theatre", "theatre"),
        ("U.S.", "us"),
        ("the", ""),
    ],
)
def test_the_official_normalisation(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("text", "golds", "em", "f1"),
    [
        ("The cat.", ["cat"], 1.0, 1.0),
        ("a big cat", ["cat"], 0.0, 2 / 3),  # 1 shared of 2 and 1
        ("cat cat", ["cat"], 0.0, 2 / 3),  # a repeated word is shared once
        ("dog", ["cat", "hot dog"], 0.0, 2 / 3),  # best of both
        ("bird", ["cat"], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),  # nothing left on either side
        ("the", ["cat"], 0.0, 0.0),
    ],
)
def test_exact_match_and_token_f1(text: str, golds: list[str], em: float, f1: float) -> None:
    assert exact_match(text, golds) == em
    assert token_f1(text, golds) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("text", "golds", "order"),
    [
        ("the cat sat on a mat", ["the cat sat on a mat"], 1.0),
        ("cat mat", ["the cat sat on a mat"], 1.0),  # both shared words in order
        ("mat a on sat cat the", ["the cat sat on a mat"], 1 / 6),  # one word in order of six
        ("sat the cat", ["the cat sat on a mat"], 2 / 3),
        ("dog", ["cat", "hot dog"], 1.0),
        ("bird", ["cat"], None),
        ("bird", [], None),
    ],
)
def test_the_share_of_shared_words_in_the_golds_order(text: str, golds: list[str], order: float | None) -> None:
    assert word_order(text, golds) == (None if order is None else pytest.approx(order))


def test_rouge_by_hand() -> None:
    # longest common subsequence "the cat on mat": 4 of 6 gold words, 4 of 5 given
    assert rouge_f1("rougeL", "the cat lay on mat", ["the cat sat on a mat"]) == pytest.approx(2 * 4 / (6 + 5))
    # shared words regardless of order: cat, mat
    assert rouge_f1("rouge1", "mat cat", ["cat mat dog"]) == pytest.approx(2 * 2 / (3 + 2))
    assert rouge_f1("rouge1", "größe", ["größe"]) == 1.0
    assert rouge_f1("rouge1", "", ["cat"]) == 0.0


def values(gold: GoldAnswer, given: Answer) -> dict[str, float]:
    return dict(score_answers([gold], {gold.id: given}).items[0].values)


GOLD = GoldAnswer("q", ("blue",), passage_ids=("p1", "p2"))


@pytest.mark.parametrize(
    ("given", "precision", "recall"),
    [
        (answer("blue", "p1", "p9", "p1"), 1 / 2, 1 / 2),  # a passage cited twice counts once
        (answer("blue", "p1", "p2"), 1.0, 1.0),
        (answer("blue"), 0.0, 0.0),
        (answer("", refused=True), 0.0, 0.0),
        (answer("", "p1", refused=True), 0.0, 0.0),
    ],
)
def test_citation_precision_and_recall(given: Answer, precision: float, recall: float) -> None:
    found = values(GOLD, given)
    assert (found["citation precision"], found["citation recall"]) == (precision, recall)


def test_quotes_are_scored_where_gold_quotes_are_known() -> None:
    gold = GoldAnswer("q", ("blue",), passage_ids=("p1",), quotes=("the sky is deep blue today", "water looks blue"))
    found = values(gold, answer("blue", "p1|Sky is deep blue", "p1|grass is green"))
    assert (found["quote precision"], found["quote recall"]) == (1 / 2, 1 / 2)
    assert "quote precision" not in values(GOLD, answer("blue"))
    assert "citation precision" not in values(GoldAnswer("q", ("blue",)), answer("blue"))


@pytest.mark.parametrize(
    ("left", "right", "overlap"),
    [
        ("one two three four", "three four five six", True),  # a run of 2 is half of 4
        ("one two three four", "four five six seven", False),
        ("Two, three!", "one two three four five six", True),
        ("", "one", False),
    ],
)
def test_when_quotes_overlap(left: str, right: str, overlap: bool) -> None:
    assert quotes_overlap(left, right) is overlap
    assert quotes_overlap(right, left) is overlap


def test_refusals_of_both_kinds_are_told_apart() -> None:
    golds = [GoldAnswer("a1", ("x",)), GoldAnswer("a2", ("x",)), GoldAnswer("u1", (), answerable=False)]
    golds += [GoldAnswer("u2", (), answerable=False), GoldAnswer("u3", (), answerable=False)]
    refusal, given = answer("", refused=True), answer("x y z")
    table = score_answers(golds, {"a1": refusal, "a2": given, "u1": refusal, "u2": refusal, "u3": given})
    means = table.means()
    assert means["wrong refusals"] == Mean(1 / 2, 2)
    assert means["right refusals"] == Mean(2 / 3, 3)
    assert means["F1"] == Mean(pytest.approx(0.25), 2)  # type: ignore[arg-type]  # refused 0, "x y z" against "x" 1/2
    assert table.values("words") == {"a2": 3.0, "u3": 3.0}


def test_unparsed_is_scored_on_its_reply_and_failed_has_no_value_but_both_are_listed() -> None:
    golds = [GoldAnswer("ok", ("blue",)), GoldAnswer("odd", ("blue",)), GoldAnswer("gone", ("blue",))]
    table = score_answers(
        golds,
        {
            "ok": answer("blue"),
            "odd": answer("", outcome=Outcome.UNPARSED, reply="blue whale"),
            "gone": answer("", outcome=Outcome.FAILED),
        },
    )
    assert table.values("F1") == pytest.approx({"ok": 1.0, "odd": 2 / 3})
    assert (table.ids(Outcome.UNPARSED), table.ids(Outcome.FAILED)) == (("odd",), ("gone",))
    assert table.means()["EM"] == Mean(0.5, 2)


def test_pairing_keeps_items_that_both_have_and_names_the_rest() -> None:
    golds = [GoldAnswer("a", ("x",), group="doc1"), GoldAnswer("b", ("x",), group="doc1"), GoldAnswer("c", ("x",))]
    base = score_answers(golds, {"a": answer("x"), "b": answer("", outcome=Outcome.FAILED), "c": answer("y")})
    tuned = score_answers(golds, {"a": answer("x"), "b": answer("x"), "c": answer("x")})
    found = pair(base, tuned, "EM")
    assert (found.ids, found.groups) == (("a", "c"), ("doc1", "c"))
    assert (found.base, found.tuned) == ((1.0, 0.0), (1.0, 1.0))
    with pytest.raises(InputError, match="same items"):
        pair(base, score_answers(golds[:1], {"a": answer("x")}), "EM")


@pytest.mark.parametrize(
    ("golds", "answers", "says"),
    [
        ([GOLD], {}, "question 'q' has no answer record"),
        ([GOLD, GOLD], {"q": answer("x")}, "question 'q' stands twice"),
        ([GoldAnswer("q", ())], {"q": answer("x")}, "answerable but has no gold answer"),
    ],
)
def test_bad_input_is_refused(golds: list[GoldAnswer], answers: dict[str, Answer], says: str) -> None:
    with pytest.raises(InputError, match=says):
        score_answers(golds, answers)
