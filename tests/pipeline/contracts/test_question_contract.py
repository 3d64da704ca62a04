"""The questioner's contract: golden prompts in both manners and in reverse, targets, and replies of every bad kind."""

from __future__ import annotations

import pytest

from lorag.pipeline.contracts import PromptStyle, question
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.question import Manner, Reply
from lorag.pipeline.records import Message, Outcome, Speaker, Turn

PASSAGE = PassageText("Ferry > Times", "The ferry leaves at 07:40.\n\nIt carries 12 cars.")
BEGINNING = "[1] Ferry > Times\nThe ferry leaves at 07:40.\nIt carries 12 cars.\n\nAnswer: "
HISTORY = (Turn(Speaker.USER, "Where does the ferry leave?"), Turn(Speaker.ASSISTANT, "From the north quay."))


@pytest.mark.parametrize(
    ("manner", "task"),
    [(Manner.FULL, "Ask the question that has this answer."), (Manner.TERSE, "Search for this answer in a few words.")],
)
def test_tuned_prompt(manner: Manner, task: str) -> None:
    assert question.messages(PASSAGE, "at\n07:40", manner) == (Message("user", f"{BEGINNING}at 07:40\n\n{task}"),)


def test_spans_of_one_passage_share_the_beginning() -> None:
    """Training and generation read the passage once for all of its spans."""
    prompts = [question.messages(PASSAGE, span, manner) for span in ("07:40", "12 cars") for manner in Manner]
    assert all(prompt[-1].content.startswith(BEGINNING) for prompt in prompts)


def test_a_base_without_adapter_is_shown_an_example() -> None:
    for manner in Manner:
        first, reply, asked = question.messages(PASSAGE, "07:40", manner, PromptStyle.PLAIN)
        assert (first.role, reply.role, asked.role) == ("user", "assistant", "user")
        assert asked.content.startswith(f"{BEGINNING}07:40\n\n")
        assert question.parse(reply.content) == Reply(reply.content, Outcome.OK)


def test_the_follow_up_prompt_is_the_rewriters_in_reverse() -> None:
    turns = "User: Where does the ferry leave?\nAssistant: From the north quay."
    context = f"Conversation:\n{turns}\n\nQuestion: When does the ferry leave?"
    tuned = question.follow_up_messages(HISTORY, "When does the ferry leave?")
    assert tuned == (Message("user", f"{context}\n\nAsk this question as the next turn of the conversation."),)
    plain = question.follow_up_messages(HISTORY, "When does the ferry leave?", PromptStyle.PLAIN)
    assert len(plain) == 3 and plain[-1].content.startswith(context)


def test_target() -> None:
    assert question.target(" When\ndoes  it leave? ") == "When does it leave?"


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        ("When does the ferry leave?", "When does the ferry leave?"),
        ("\n  When does\tthe ferry leave? \nAt 07:40.", "When does the ferry leave?"),
        ("Question: When does the ferry leave?", "When does the ferry leave?"),
        ("search query: ferry first departure", "ferry first departure"),
        ("Q: When does it leave?", "When does it leave?"),
        ('"When does the ferry leave?"', "When does the ferry leave?"),
        ("quarantine rules ferry", "quarantine rules ferry"),
        ("Wann fährt die Fähre ab?", "Wann fährt die Fähre ab?"),
    ],
)
def test_a_plausible_line_is_taken(reply: str, asked: str) -> None:
    assert question.parse(reply) == Reply(asked, Outcome.OK)


@pytest.mark.parametrize(
    "reply",
    ["", " \n\t", "?!", "<|im_end|>", "Answer: 07:40", "[1] Ferry", "I'm sorry, I can't do that.", "As an AI, no.", "why " * 90],
)
def test_anything_else_is_unparsed(reply: str) -> None:
    assert question.parse(reply) == Reply("", Outcome.UNPARSED)
