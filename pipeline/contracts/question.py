"""The questioner's contract, which only makes training data: a passage and a span of it → one question that the span answers.

The passage comes first and the span after it, so several spans of a passage share the prompt's beginning. A second prompt
turns a standalone question into what a user would say in a conversation, the rewriter's task in reverse. Pure text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lorag.pipeline.contracts.asked_line import asked_line
from lorag.pipeline.contracts.context import PassageText, one_line, shared_context
from lorag.pipeline.contracts.style import PromptStyle
from lorag.pipeline.records import Message, Outcome, Turn

MAX_REPLY_TOKENS = 48
MAX_CHARS = 300
"""Longest question in characters; a longer reply is none."""

_PREFIX = re.compile(r"^\s*(?:(?:search |standalone |follow-up )?(?:question|query)|q)\s*:\s*", re.IGNORECASE)
_NO_QUESTION = re.compile(
    r"(?:answer|passage|conversation|user|assistant|system|topic)\s*:|\[\d+\]|as an ai\b"
    r"|(?:i'm|i’m|i am) sorry,? (?:but )?i (?:can|do|am|was)",
    re.IGNORECASE,
)
"""Beginnings of replies that repeat the prompt or decline: no question, though it is one line."""


class Manner(StrEnum):
    """How a question is put: as a full sentence, or terse as people type into a search box."""

    FULL = "full"
    TERSE = "terse"


TUNED_TASKS = {
    Manner.FULL: "Ask the question that has this answer.",
    Manner.TERSE: "Search for this answer in a few words.",
}
TUNED_FOLLOW_UP = "Ask this question as the next turn of the conversation."

_LIBRARY = PassageText(
    "Town library > Opening hours", "The reading room closes at 19:30 on weekdays. The pool is emptied every March."
)
_PLAIN_TASKS = {
    Manner.FULL: (
        "Write one question that has exactly this answer. Name what it is about, so that it can be understood without the "
        "passage. Do not use the words of the answer. Reply with the question only."
    ),
    Manner.TERSE: (
        "Write the search query, in a few lower-case words, of somebody who is looking for this answer. Name what it is about. "
        "Do not use the words of the answer. Reply with the query only."
    ),
}
_EXAMPLE_REPLIES = {
    Manner.FULL: "When does the reading room of the town library close on a weekday?",
    Manner.TERSE: "town library reading room closing time weekdays",
}
_PLAIN_FOLLOW_UP = (
    "Write the last question as a user would say it next in this conversation: leave out or replace by a pronoun what is clear "
    "from the conversation. Keep its meaning. Reply with the question only."
)
_FOLLOW_UP_EXAMPLE = (
    "Conversation:\nUser: Who painted the ceiling of the old library?\nAssistant: Maria Toft painted it in 1931.\n\n"
    "Question: How long did it take Maria Toft to paint the ceiling of the old library?\n\n" + _PLAIN_FOLLOW_UP
)
_FOLLOW_UP_REPLY = "How long did it take her?"


def messages(
    passage: PassageText, span: str, manner: Manner = Manner.FULL, style: PromptStyle = PromptStyle.TUNED
) -> tuple[Message, ...]:
    """Prompt for one question; `span` is the part of the passage that answers it."""
    if style is PromptStyle.TUNED:
        return (Message("user", _asked(passage, span, TUNED_TASKS[manner])),)
    return (
        Message("user", _asked(_LIBRARY, "at 19:30", _PLAIN_TASKS[manner])),
        Message("assistant", _EXAMPLE_REPLIES[manner]),
        Message("user", _asked(passage, span, _PLAIN_TASKS[manner])),
    )


def follow_up_messages(history: Sequence[Turn], question: str, style: PromptStyle = PromptStyle.TUNED) -> tuple[Message, ...]:
    """Prompt for what a user would say instead of the standalone `question`; `history` oldest first."""
    context = shared_context(history=history, question=question)
    if style is PromptStyle.TUNED:
        return (Message("user", f"{context}\n\n{TUNED_FOLLOW_UP}"),)
    return (
        Message("user", _FOLLOW_UP_EXAMPLE),
        Message("assistant", _FOLLOW_UP_REPLY),
        Message("user", f"{context}\n\n{_PLAIN_FOLLOW_UP}"),
    )


def target(question: str) -> str:
    """What the adapter learns to reply."""
    return one_line(question)


@dataclass(frozen=True, slots=True)
class Reply:
    """A parsed reply; `question` is empty if the outcome is unparsed."""

    question: str
    outcome: Outcome


def parse(reply: str) -> Reply:
    """Parse a reply: its first line that is not empty, unparsed if that is no plausible question."""
    line = asked_line(reply, _PREFIX)
    if not line or _NO_QUESTION.match(line) or len(line) > MAX_CHARS:
        return Reply("", Outcome.UNPARSED)
    return Reply(line, Outcome.OK)


def _asked(passage: PassageText, span: str, task: str) -> str:
    return f"{shared_context(passages=(passage,))}\n\nAnswer: {one_line(span)}\n\n{task}"
