"""The part of a prompt that all generation roles share: conversation, passages, question. Pure text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Passage, Speaker, Turn

HISTORY_TURNS = 6
"""Maximum of earlier turns shown; older ones rarely name what a question refers to, and each costs prefill."""

TURN_CHARS = 400
"""Longer turns are cut after a word; the beginning stays, since an answer names its subject early."""


@dataclass(frozen=True, slots=True)
class PassageText:
    """What a prompt shows of a passage."""

    title: str
    text: str

    @classmethod
    def of(cls, passage: Passage) -> PassageText:
        heading = f"{passage.title} > {passage.section}" if passage.section else passage.title
        return cls(heading, passage.shown)


def parse_turn(text: str) -> Turn:
    """Read `User: …`, `Assistant: …` or `Topic: …`.

    Raises InputError for any other beginning.
    """
    for speaker in Speaker:
        prefix = f"{speaker.value.capitalize()}:"
        if text.startswith(prefix):
            return Turn(speaker, text[len(prefix) :].strip())
    raise InputError(f"history turn {text[:40]!r} begins with neither 'User: ' nor 'Assistant: ' nor 'Topic: '; prefix each turn")


def one_line(text: str) -> str:
    """`text` with every run of white space made one space: a field is one line, so its text cannot imitate another field."""
    return re.sub(r"\s+", " ", text).strip()


def block(text: str) -> str:
    """`text` without empty lines: they separate prompt fields, so a passage cannot imitate one."""
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()).strip()


def clip(text: str, limit: int) -> str:
    """At most `limit` characters of `text`, cut at a space; an ellipsis marks the cut."""
    if len(text) <= limit:
        return text
    return text[:limit].rsplit(" ", 1)[0] + " …"


def shared_context(
    *,
    history: Sequence[Turn] = (),
    passages: Sequence[PassageText] = (),
    question: str | None = None,
) -> str:
    """Render the shared part, with an empty line between its pieces; absent ones are left out. Passages are numbered from 1."""
    blocks = []
    if history:
        lines = [f"{t.speaker.value.capitalize()}: {clip(one_line(t.text), TURN_CHARS)}" for t in history[-HISTORY_TURNS:]]
        blocks.append("Conversation:\n" + "\n".join(lines))
    blocks += [f"[{n}] {one_line(p.title)}\n{block(p.text)}" for n, p in enumerate(passages, 1)]
    if question is not None:
        blocks.append(f"Question: {one_line(question)}")
    return "\n\n".join(blocks)
