"""The rewriter's contract: conversation + question → one standalone question. Pure text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lorag.pipeline.contracts.asked_line import asked_line
from lorag.pipeline.contracts.context import one_line, shared_context
from lorag.pipeline.contracts.style import PromptStyle
from lorag.pipeline.records import Message, Outcome, Rewrite, Turn

MAX_REPLY_TOKENS = 64
MAX_GROWTH = 400
"""Characters by which a rewrite may be longer than its question; a longer reply is no rewrite."""

_PREFIX = re.compile(r"^\s*(?:(?:standalone |rewritten )?question|rewrite)\s*:\s*", re.IGNORECASE)
_NO_QUESTION = re.compile(
    r"(?:conversation|user|assistant|system|topic)\s*:|rewrite the (?:last )?question|as an ai\b"
    r"|(?:i'm|i’m|i am) sorry,? (?:but )?i (?:can|do|am|was)",
    re.IGNORECASE,
)
"""Beginnings of replies that repeat the prompt or decline: no rewrite, though it is one line."""

TUNED_TASK = "Rewrite the question so that it stands alone."
PLAIN_TASK = (
    "Rewrite the last question so that it can be understood without the conversation. Replace words such as 'it', 'that' or "
    "'there' by what they mean. If it is already clear, repeat it unchanged. Reply with the question only."
)
EXAMPLE_USER = (
    "Conversation:\nUser: Who painted the ceiling of the old library?\nAssistant: Maria Toft painted it in 1931.\n\n"
    "Question: How long did it take her?\n\n" + PLAIN_TASK
)
EXAMPLE_REPLY = "How long did it take Maria Toft to paint the ceiling of the old library?"
UNCHANGED_USER = EXAMPLE_USER.replace("How long did it take her?", "Where is the town pool?")
UNCHANGED_REPLY = "Where is the town pool?"


def messages(history: Sequence[Turn], question: str, style: PromptStyle = PromptStyle.TUNED) -> tuple[Message, ...]:
    """Prompt for one turn; `history` oldest first."""
    context = shared_context(history=history, question=question)
    if style is PromptStyle.TUNED:
        return (Message("user", f"{context}\n\n{TUNED_TASK}"),)
    return (
        Message("user", UNCHANGED_USER),
        Message("assistant", UNCHANGED_REPLY),
        Message("user", EXAMPLE_USER),
        Message("assistant", EXAMPLE_REPLY),
        Message("user", f"{context}\n\n{PLAIN_TASK}"),
    )


def target(rewrite: str) -> str:
    """What the adapter learns to reply."""
    return one_line(rewrite)


def parse(reply: str, question: str) -> Rewrite:
    """Parse a reply: its first line that is not empty. If that is no plausible question, the raw one is returned as unparsed."""
    line = asked_line(reply, _PREFIX)
    if not line or _NO_QUESTION.match(line) or len(line) > len(question) + MAX_GROWTH:
        return Rewrite(question, Outcome.UNPARSED, reply)
    return Rewrite(line, Outcome.OK, reply)
