"""The rewriter's contract: golden prompts, targets, and replies of every bad kind."""

from __future__ import annotations

import pytest

from lorag.pipeline.contracts import PromptStyle, rewrite
from lorag.pipeline.records import Message, Outcome, Rewrite, Speaker, Turn

HISTORY = (Turn(Speaker.USER, "Where does the ferry leave?"), Turn(Speaker.ASSISTANT, "From the north quay."))
QUESTION = "When does it leave?"
CONTEXT = "Conversation:\nUser: Where does the ferry leave?\nAssistant: From the north quay.\n\nQuestion: When does it leave?\n\n"


def test_tuned_prompt() -> None:
    assert rewrite.messages(HISTORY, QUESTION) == (Message("user", CONTEXT + "Rewrite the question so that it stands alone."),)


def test_plain_prompt_explains_and_shows_an_example() -> None:
    task = (
        "Rewrite the last question so that it can be understood without the conversation. Replace words such as 'it', 'that' "
        "or 'there' by what they mean. If it is already clear, repeat it unchanged. Reply with the question only."
    )
    example = (
        "Conversation:\nUser: Who painted the ceiling of the old library?\nAssistant: Maria Toft painted it in 1931.\n\n"
        "Question: How long did it take her?\n\n"
    )
    assert rewrite.messages(HISTORY, QUESTION, PromptStyle.PLAIN) == (
        Message("user", example.replace("How long did it take her?", "Where is the town pool?") + task),
        Message("assistant", "Where is the town pool?"),
        Message("user", example + task),
        Message("assistant", "How long did it take Maria Toft to paint the ceiling of the old library?"),
        Message("user", CONTEXT + task),
    )


def test_both_styles_begin_their_last_message_alike() -> None:
    """What is shared comes first, so that a cache of it serves every role (design §7)."""
    assert all(rewrite.messages(HISTORY, QUESTION, style)[-1].content.startswith(CONTEXT) for style in PromptStyle)


def test_the_example_is_read_as_the_contract_reads_replies() -> None:
    assert rewrite.parse(rewrite.EXAMPLE_REPLY, "How long did it take her?").outcome is Outcome.OK


@pytest.mark.parametrize(("text", "target"), [("Who?", "Who?"), (" Who\nkeeps  it? ", "Who keeps it?")])
def test_target(text: str, target: str) -> None:
    assert rewrite.target(text) == target
    assert rewrite.parse(rewrite.target(text), "Who?") == Rewrite(target, Outcome.OK, target)


@pytest.mark.parametrize(
    ("reply", "question"),
    [
        ("When does the ferry leave?", "When does the ferry leave?"),
        ("  When does the ferry leave?  \n", "When does the ferry leave?"),
        ("\n\nWhen does\tthe ferry leave?", "When does the ferry leave?"),
        ("When does the ferry leave?\nIt leaves at 07:40.", "When does the ferry leave?"),
        ('"When does the ferry leave?"', "When does the ferry leave?"),
        ("“When does the ferry leave?”", "When does the ferry leave?"),
        ("Question: When does the ferry leave?", "When does the ferry leave?"),
        ("Rewritten question: When does the ferry leave?", "When does the ferry leave?"),
        ("standalone question : When does the ferry leave?", "When does the ferry leave?"),
        ('Rewrite: "When does the ferry leave?"', "When does the ferry leave?"),
        ('What is meant by "dry dock"', 'What is meant by "dry dock"'),
        ('"Kell" or "Dun"', '"Kell" or "Dun"'),
        ("Who wrote to the user: the porter?", "Who wrote to the user: the porter?"),
        ("When does the ferry leave?<|im_end|>", "When does the ferry leave?<|im_end|>"),
        ("Wann fährt die Fähre ab?", "Wann fährt die Fähre ab?"),
        ("渡し船はいつ出ますか", "渡し船はいつ出ますか"),
        ("Sorry, when does the ferry leave?", "Sorry, when does the ferry leave?"),
    ],
)
def test_a_plausible_line_is_taken(reply: str, question: str) -> None:
    assert rewrite.parse(reply, QUESTION) == Rewrite(question, Outcome.OK, reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " \n\t\n",
        "???",
        '""',
        "“ ”",
        "…",
        "Question:",
        "<|im_end|>",
        " <|im_start|> <|endoftext|> .",
        "Conversation:\nUser: Where does the ferry leave?",
        "User: When does it leave?",
        "Assistant: At 07:40.",
        "Rewrite the question so that it stands alone.",
        rewrite.PLAIN_TASK,
        "I'm sorry, but I can't help with that.",
        "I am sorry, I do not know.",
        "As an AI language model, I have no ferry.",
        "when " * 200,
        "x" * (len(QUESTION) + rewrite.MAX_GROWTH + 1),
    ],
)
def test_anything_else_leaves_the_raw_question_and_says_so(reply: str) -> None:
    assert rewrite.parse(reply, QUESTION) == Rewrite(QUESTION, Outcome.UNPARSED, reply)


def test_the_longest_rewrite() -> None:
    longest = "x" * (len(QUESTION) + rewrite.MAX_GROWTH)
    assert rewrite.parse(longest, QUESTION).outcome is Outcome.OK
