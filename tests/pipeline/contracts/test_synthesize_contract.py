"""The synthesizer's contract: golden prompts, targets, and replies of every bad kind."""

from __future__ import annotations

import pytest

from lorag.pipeline.contracts import PromptStyle, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.synthesize import REFUSAL, Reply
from lorag.pipeline.records import Message, Outcome

PASSAGES = (PassageText("Ferries > Times", "The ferry leaves at 07:40."), PassageText("Quays", "There are two."))
CONTEXT = (
    "[1] Ferries > Times\nThe ferry leaves at 07:40.\n\n[2] Quays\nThere are two.\n\nQuestion: When does the ferry leave?\n\n"
)


def test_tuned_prompt() -> None:
    assert synthesize.messages("When does the ferry leave?", PASSAGES) == (
        Message("user", CONTEXT + "Answer from the passages and cite them."),
    )


def test_plain_prompt_explains_and_shows_an_example() -> None:
    task = (
        "Answer the question in a few words, using only the numbered passages, and end with the number of the passage you used "
        "in square brackets. If no passage holds the answer, reply exactly: The passages do not say."
    )
    example = (
        "[1] Town library\nThe reading room closes at 19:30 on weekdays.\n\n[2] Town pool\nThe pool is emptied every March.\n\n"
        "Question: When does the reading room close on a Tuesday?\n\n"
    )
    assert synthesize.messages("When does the ferry leave?", PASSAGES, PromptStyle.PLAIN) == (
        Message("user", example + task),
        Message("assistant", "at 19:30 [1]"),
        Message("user", CONTEXT + task),
    )


def test_the_example_is_read_as_the_contract_reads_replies() -> None:
    assert synthesize.parse(synthesize.EXAMPLE_REPLY, 2) == Reply("at 19:30", (1,), False, Outcome.OK)


@pytest.mark.parametrize(
    ("answer", "numbers", "target"),
    [
        ("at 07:40", [1], "at 07:40 [1]"),
        (" at\n07:40 ", [3, 1, 3], "at 07:40 [1][3]"),
        ("anything", [], "The passages do not say."),
        ("", [], "The passages do not say."),
    ],
)
def test_target_is_read_back_as_it_was_meant(answer: str, numbers: list[int], target: str) -> None:
    assert synthesize.target(answer, numbers) == target
    reply = synthesize.parse(target, 3)
    assert reply.outcome is Outcome.OK
    assert (reply.refused, reply.numbers) == (not numbers, tuple(sorted(set(numbers))))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("at 07:40 [1]", Reply("at 07:40", (1,), False, Outcome.OK)),
        ("at 07:40[2][1]", Reply("at 07:40", (2, 1), False, Outcome.OK)),
        (
            "at 07:40 [1] from the north quay [2] daily [1].",
            Reply("at 07:40 from the north quay daily.", (1, 2), False, Outcome.OK),
        ),
        ("[2] at 07:40", Reply("at 07:40", (2,), False, Outcome.OK)),
        ("at 07:40\n\n[1]\n", Reply("at 07:40", (1,), False, Outcome.OK)),
        ("A pilot is not provided on Sundays [2]", Reply("A pilot is not provided on Sundays", (2,), False, Outcome.OK)),
        ("at 07:40 [1, 2]", Reply("at 07:40", (1, 2), False, Outcome.OK)),
        ("at 07:40 [1–2].", Reply("at 07:40.", (1, 2), False, Outcome.OK)),
        (
            "The text does not specify, but rule 7 says 10:00 [1]",
            Reply("The text does not specify, but rule 7 says 10:00", (1,), False, Outcome.OK),
        ),
        ("There is no passage in a gale [1]", Reply("There is no passage in a gale", (1,), False, Outcome.OK)),
    ],
)
def test_an_answer_with_its_marks(reply: str, expected: Reply) -> None:
    assert synthesize.parse(reply, 2) == expected


@pytest.mark.parametrize(
    ("reply", "text", "numbers"),
    [
        ("", "", ()),
        ("  \n", "", ()),
        ("[1]", "", (1,)),
        ("[1][2]", "", (1, 2)),
        ("at 07:40", "at 07:40", ()),
        ("at 07:40 [3]", "at 07:40", ()),
        ("at 07:40 [0]", "at 07:40", ()),
        ("at 07:40 [1][99]", "at 07:40", (1,)),
        ("at 07:40 [1, 3]", "at 07:40", (1,)),
        ("at 07:40 [1-3]", "at 07:40", (1, 2)),
        ("at 07:40 [1234]", "at 07:40 [1234]", ()),
        ("at 07:40 [-1]", "at 07:40 [-1]", ()),
        ("at 07:40 (1)", "at 07:40 (1)", ()),
        ("<|im_end|>", "<|im_end|>", ()),
        ("yes " * 400, ("yes " * 400).strip(), ()),
        (synthesize.TUNED_TASK, synthesize.TUNED_TASK, ()),
    ],
)
def test_an_answer_without_sound_marks_is_unparsed_and_keeps_its_text(reply: str, text: str, numbers: tuple[int, ...]) -> None:
    assert synthesize.parse(reply, 2) == Reply(text, numbers, False, Outcome.UNPARSED)


def test_without_passages_every_mark_is_out_of_range() -> None:
    assert synthesize.parse("at 07:40 [1]", 0) == Reply("at 07:40", (), False, Outcome.UNPARSED)


@pytest.mark.parametrize(
    "reply",
    [
        REFUSAL,
        "the passages do not say",
        "The passages do not say when.",
        "The passages do not say. [1]",
        "The passages don't mention a ferry.",
        "The passages don’t mention a ferry.",
        "The text does not provide this [2].",
        "The documents do not contain the answer.",
        "This is not mentioned in the passages.",
        "There is no information about that.",
        "No passage holds the answer.",
        "The departure times are not specified.",
    ],
)
def test_a_refusal_carries_no_numbers(reply: str) -> None:
    parsed = synthesize.parse(reply, 2)
    assert (parsed.refused, parsed.numbers, parsed.outcome) == (True, (), Outcome.OK)
