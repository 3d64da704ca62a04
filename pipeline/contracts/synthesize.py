"""The synthesizer's contract: question + numbered passages → answer with citations `[n]`, or a refusal. Pure text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorag.pipeline.contracts.citations import cited_numbers, without_marks
from lorag.pipeline.contracts.context import PassageText, one_line, shared_context
from lorag.pipeline.contracts.refusals import declines
from lorag.pipeline.contracts.style import PromptStyle
from lorag.pipeline.records import Message, Outcome

MAX_REPLY_TOKENS = 96
REFUSAL = "The passages do not say."

TUNED_TASK = "Answer from the passages and cite them."
PLAIN_TASK = (
    "Answer the question in a few words, using only the numbered passages, and end with the number of the passage you used in "
    f"square brackets. If no passage holds the answer, reply exactly: {REFUSAL}"
)
EXAMPLE_USER = (
    "[1] Town library\nThe reading room closes at 19:30 on weekdays.\n\n[2] Town pool\nThe pool is emptied every March.\n\n"
    "Question: When does the reading room close on a Tuesday?\n\n" + PLAIN_TASK
)
EXAMPLE_REPLY = "at 19:30 [1]"


def messages(question: str, passages: Sequence[PassageText], style: PromptStyle = PromptStyle.TUNED) -> tuple[Message, ...]:
    """Prompt for one standalone question; passages are numbered from 1 in the order given."""
    context = shared_context(passages=passages, question=question)
    if style is PromptStyle.TUNED:
        return (Message("user", f"{context}\n\n{TUNED_TASK}"),)
    return (
        Message("user", EXAMPLE_USER),
        Message("assistant", EXAMPLE_REPLY),
        Message("user", f"{context}\n\n{PLAIN_TASK}"),
    )


def target(answer: str, numbers: Sequence[int]) -> str:
    """What the adapter learns to reply: the answer and its marks, or the refusal if `numbers` is empty."""
    if not numbers:
        return REFUSAL
    return f"{one_line(answer)} " + "".join(f"[{n}]" for n in sorted(set(numbers)))


@dataclass(frozen=True, slots=True)
class Reply:
    """A parsed reply: `text` without marks; `numbers` are the passages cited, in order of mention."""

    text: str
    numbers: tuple[int, ...]
    refused: bool
    outcome: Outcome


def parse(reply: str, passage_count: int) -> Reply:
    """Parse a reply.

    A refusal (`refusals`) needs no mark, and its marks are dropped. An answer needs at least one mark, and every mark must name a
    passage that was shown. Otherwise the outcome is unparsed, and text and valid numbers are kept.
    """
    text = one_line(without_marks(reply))
    if declines(reply):
        return Reply(text, (), True, Outcome.OK)
    numbers = cited_numbers(reply)
    valid = tuple(n for n in numbers if 1 <= n <= passage_count)
    sound = bool(text) and bool(valid) and valid == numbers
    return Reply(text, valid, False, Outcome.OK if sound else Outcome.UNPARSED)
