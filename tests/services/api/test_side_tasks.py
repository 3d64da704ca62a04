"""Side tasks of chat clients: recognised by their build, in prompts written here as those clients build theirs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from lorag.pipeline.records import Message
from lorag.services.api.side_tasks import Task, question_in, side_task

ASKED = (
    "USER: Who holds the keys of the boat house, and where?\nASSISTANT: The boatman. [1]\n"
    "USER: And in winter?\nASSISTANT: Nobody."
)
TITLED = {"title": "Who holds the keys of the"}


def one(text: str) -> list[Message]:
    return [Message("user", text)]


def task_prompt(sentence: str, shown: str) -> str:
    """As Open WebUI builds its prompts."""
    return (
        f"### Task:\n{sentence}\n### Guidelines:\n- Be accurate.\n### Output:\nJSON format: {shown}\n"
        f"### Chat History:\n<chat_history>\n{ASKED}\n</chat_history>"
    )


JSON_TASKS: list[tuple[str, Task, Any]] = [
    (
        task_prompt("Write a 3-5 word title for the chat.", '{ "title": "a title" }'),
        Task.TITLE,
        {"title": "Who holds the keys of the"},
    ),
    (task_prompt("Erzeuge einen kurzen Titel.", '{ "title": "…" }'), Task.TITLE, TITLED),
    (task_prompt("Find broad tags for its themes.", '{ "tags": ["a", "b"] }'), Task.TAGS, {"tags": ["General"]}),
    (task_prompt("Suggest what to ask next.", '{ "follow_ups": ["A?", "B?"] }'), Task.FOLLOW_UPS, {"follow_ups": []}),
    (task_prompt("Decide what to search for.", '{ "queries": ["a"] }'), Task.QUERIES, {"queries": ["And in winter?"]}),
    (task_prompt("Describe a picture.", '{\n    "prompt": "…"\n}'), Task.PICTURE, {"prompt": "And in winter?"}),
    (
        task_prompt("Complete the text as a search query.", '{ "text": "…" }') + "\n<type>General</type>\n<text>Where is</text>",
        Task.COMPLETION,
        {"text": ""},
    ),
]


@pytest.mark.parametrize(("prompt", "task", "reply"), JSON_TASKS, ids=[str(number) for number in range(len(JSON_TASKS))])
def test_a_task_with_a_transcript_is_answered_in_the_json_that_it_shows(prompt: str, task: Task, reply: Any) -> None:
    found = side_task(one(prompt))
    assert found is not None
    assert (found.task, json.loads(found.reply or "")) == (task, reply)


PLAIN_TASKS = [
    "Provide a title of five words for the conversation. Return it alone.\n\nConversation:\nUser: Who has the keys?\nAI: He.",
    "Based on the chat history, give this conversation a name.\nHere's the conversation:\n```\nuser: Who has the keys?\n```",
    "Please generate a title for a conversation that starts with:\nUser: Who has the keys?\nAssistant: He.\n\nTitle:",
    "Write a title for this chat.\n<conversation>\n<user>\nWho has the keys?\n</user>\n<assistant>\nHe.\n</assistant>",
]


@pytest.mark.parametrize("prompt", PLAIN_TASKS)
def test_a_title_without_json_is_plain_text(prompt: str) -> None:
    found = side_task(one(prompt))
    assert found is not None
    assert (found.task, found.reply) == (Task.TITLE, "Who has the keys")


def test_a_title_may_be_asked_for_at_the_end_of_the_conversation_itself() -> None:
    talk = [Message("user", "Who has the keys?"), Message("assistant", "He."), Message("user", "")]
    talk[-1] = Message("user", "Please generate a four word title summarizing our conversation without punctuation.")
    assert side_task(talk) is not None
    talk[-1] = Message("user", "Summarize the discussion briefly in 200 words to use as a prompt.")
    found = side_task(talk)
    assert found is not None
    assert (found.task, found.reply) == (Task.SUMMARY, None)  # the base writes it


def test_instructions_may_stand_in_the_system_message() -> None:
    titles = Message("system", "You summarize. Generate a concise title that captures the conversation.\n- Maximum 10 words")
    found = side_task([titles, *one("user: Who has the keys?\nassistant: He.")])
    assert found is not None
    assert (found.task, found.reply) == (Task.TITLE, "Who has the keys")
    assert side_task([titles, *one("Who has the keys?")]) is None  # a question under an odd persona
    tools = Message("system", 'Available Tools: [{"name": "f"}]\nReturn only JSON:\n{\n  "tool_calls": []\n}')
    chosen = side_task([tools, *one("Query: Who has the keys?")])
    assert chosen is not None
    assert chosen.reply == '{"tool_calls": []}'


@pytest.mark.parametrize(
    "prompt",
    [
        "Given the conversation and a follow up question, rephrase it to be a standalone question.\n\nChat History:\n"
        "Human: Keys?\nAI: He.\nFollow Up Input: And at night?\nStandalone question:",
        "Given a conversation and a follow up message, rewrite the message to be a standalone question.\n\n<Chat History>\n"
        "user: Keys?\nassistant: He.\n\n<Follow Up Message>\nAnd at night?\n\n<Standalone question>\n",
    ],
)
def test_another_frameworks_rewriting_gets_the_question_back(prompt: str) -> None:
    found = side_task(one(prompt))
    assert found is not None
    assert (found.task, found.reply) == (Task.STANDALONE, "And at night?")


def test_an_emoji_and_a_merged_answer() -> None:
    emoji = side_task(one("Show the speaker's expression through a fitting emoji.\n\nMessage: ```Who has the keys?```"))
    assert emoji is not None and emoji.reply == "💬"
    merged = side_task(one("You have been provided with a set of responses from various models to a query. Merge them."))
    assert merged is not None and merged.reply is None


QUESTIONS = [
    "Who holds the pump room keys?",
    "What is the title of the chapter on messages and conversation?",
    "Which tags must hang on a fire extinguisher?",
    "Summarize the rules for visitors.",
    "Write a title for the report on the pump.",
    "Give me the name of the person whom we discussed in this chat.",
    "List the follow-up steps after an alarm.",
    "What does ### Task: mean in the handbook?",
    'What does { "title": "x" } mean in the settings?',
    "A visitor wrote:\nUser: where is the key?\nAssistant: no idea\nWhat do the rules say about that?",
]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("history", [[], [Message("user", "Hello"), Message("assistant", "Good day.")]], ids=["first", "later"])
def test_questions_are_no_side_tasks(question: str, history: list[Message]) -> None:
    assert side_task([Message("system", "You are a helpful assistant."), *history, *one(question)]) is None


def test_the_question_is_taken_out_of_another_searchs_context() -> None:
    assert (
        question_in("### Task:\nAnswer.\n<context>\n<source id=1>x</source>\n</context>\n\nWho has the keys?")
        == "Who has the keys?"
    )
    assert question_in("<context>x</context>\n<user_query>\nWho has the keys?\n</user_query>\n") == "Who has the keys?"
    assert question_in("<user_query> unclosed") is None
    assert question_in("<context>x</context>  ") is None
    assert question_in("no </context> opened") is None
    assert question_in("Who has the keys?") is None


@pytest.mark.parametrize(
    "text",
    ["\n" * 200_000, "<context>" * 30_000, "<user_query>" * 25_000, "fitting emoji " * 20_000, "follow up input\n\n" * 15_000]
    + [
        "user:\n" * 50_000,
        "<chat_history>" * 20_000,
        '{"a' * 70_000,
        "generate " * 30_000,
        "# " * 100_000,
        "conversation\n" * 20_000,
    ],
    ids=lambda text: repr(text[:10]),
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    started = time.process_time()
    side_task([*one("Hello"), Message("assistant", "x"), *one(text)])
    side_task(one("Rephrase it as a standalone question\n" + text))
    question_in(text)
    assert time.process_time() - started < 10  # a quadratic one takes minutes
