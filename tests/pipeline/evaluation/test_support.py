"""Support by words: hand-made answers beside hand-made passages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lorag.pipeline.evaluation.answers import INVENTED, SUPPORTED, GoldAnswer, score_answers
from lorag.pipeline.evaluation.support import is_supported, unsupported
from lorag.pipeline.records import Answer, Citation, Outcome, Passage

PIER = "North Pier > History The pier was built in 1911 by Ann Vale. Swans sleep there at night."
HALL = "Rope hall > Use Ropes are dried in the hall for 3 weeks."


def answer(text: str, cited: Sequence[str] = ("a",), refused: bool = False, outcome: Outcome = Outcome.OK) -> Answer:
    citations = tuple(Citation(n, name, "", "", 0, 0) for n, name in enumerate(cited, start=1))
    return Answer(text, refused, citations, outcome)


@pytest.mark.parametrize(
    ("text", "cited", "expected"),
    [
        ("in 1911", "a", True),
        ("Built in 1911 by Ann Vale.", "a", True),
        ("The pier was built in 1911. Swans sleep there.", "a", True),
        ("The pier was built in 1911. Ropes are dried in the hall.", "a", False),  # the second stands in the passage not cited
        ("The pier was built in 1911. Ropes are dried in the hall.", "ab", True),
        ("By Ann Vale in 1911 the pier was built.", "a", True),  # all words, another order
        ("The pier was built in 1912 by Ann Vale.", "a", False),  # 6 of 7 words, but the number is another
        ("The old pier was surely built long before 1911.", "a", False),  # 4 of 8 words
        ("History", "a", True),  # headings are shown, so they count
        ("191", "a", False),  # whole words only
        ("1911", "", False),  # nothing is cited
        ("1911", "x", False),  # what is cited was not shown
    ],
)
def test_every_sentence_must_stand_in_a_cited_passage(text: str, cited: str, expected: bool) -> None:
    assert is_supported(answer(text, tuple(cited)), {"a": PIER, "b": HALL}) is expected


@pytest.mark.parametrize(
    ("passage", "claim", "supported"),
    [
        ("The doors stay open for 148 seconds.", "The doors stay open for 48 seconds.", False),
        ("The doors stay open for 148 seconds.", "The doors stay open for 148 s.", True),
        ("Charging stops at -5 °C.", "Charging stops at 5 °C.", False),
        ("Charging stops at −5 °C.", "Charging stops at minus 5 °C.", True),
        ("The hose is 15 m long.", "The hose is 1.5 m long.", False),
        ("The hose is 150 cm long.", "The hose is 1.5 m long.", True),
        ("Rule 17 applies at Hask.", "Rule 7 applies at Hask.", False),
        ("Rule VII applies at Hask.", "Rule 7 applies at Hask.", True),
        ("The gate shuts at 10:30.", "The gate shuts at 10:00.", False),
        ("The gate shuts at 10.00.", "The gate shuts at 10:00.", True),
        ("Ring 17-330 at once.", "Ring 7-330 at once.", False),
        ("Form STP-1444 is used.", "Form STP-144 is used.", False),
        ("The Dunlins sail at dawn.", "Then the Dunlin sail at dawn.", False),
        ("The 21st berth is shut.", "The 1st berth is shut.", False),
        ("It takes 90 minutes.", "It takes an hour and a half.", True),
        ("Open from 10:00 to 17:00.", "Open to 17:00.", True),
    ],
)
def test_numbers_are_compared_as_quantities_and_names_as_whole_words(passage: str, claim: str, supported: bool) -> None:
    assert (unsupported(claim, [passage]) == []) is supported


@pytest.mark.parametrize(
    "given", [answer("The passages do not say.", refused=True), answer("", outcome=Outcome.FAILED), answer("  ")]
)
def test_what_claims_nothing_has_no_value(given: Answer) -> None:
    assert is_supported(given, {"a": PIER}) is None


def test_the_sentences_at_fault_are_named() -> None:
    assert unsupported("It was built in 1911 by Ann Vale. It fell in 1950.", [PIER]) == ["It fell in 1950."]


def test_the_share_of_supported_answers_counts_answers_alone() -> None:
    """Also an answer to a question that has none; neither the refusal nor the failed one."""
    shown = [Passage("a", "a.md", "", "North Pier", "History", "The pier was built in 1911.", 0, 27)]
    golds = [GoldAnswer("1", ("1911",)), GoldAnswer("2", ("x",)), GoldAnswer("3", (), False), GoldAnswer("4", ("x",))]
    answers = {
        "1": answer("in 1911"),
        "2": answer("The passages do not say.", refused=True),
        "3": answer("in 1950"),
        "4": answer("", outcome=Outcome.FAILED),
    }
    table = score_answers(golds, answers, {gold.id: shown for gold in golds})
    assert table.values(SUPPORTED) == {"1": 1.0, "3": 0.0}
    assert table.means()[SUPPORTED].value == 0.5
    assert SUPPORTED not in score_answers(golds, answers).means()


@pytest.mark.parametrize(
    ("given", "invented"),
    [
        ("in 1911", 0.0),
        ("in 1950, on Old Raz", 0.0),  # the question's
        ("in 1912", 0.0),  # the gold answer's, though no passage shown has it
        ("in 1999", 1.0),
        ("built by Ann Hurst", 1.0),
        ("long ago", 0.0),
    ],
)
def test_what_neither_passages_nor_question_nor_gold_answer_state_is_invented(given: str, invented: float) -> None:
    shown = [Passage("a", "a.md", "", "North Pier", "History", "The pier was built in 1911.", 0, 27)]
    asked = {"1": "Was it 1950 on Old Raz?"}
    table = score_answers([GoldAnswer("1", ("1912",))], {"1": answer(given)}, {"1": shown}, asked=asked)
    assert table.values(INVENTED) == {"1": invented}
    assert INVENTED not in score_answers([GoldAnswer("1", ("1912",))], {"1": answer(given)}, asked=asked).means()
