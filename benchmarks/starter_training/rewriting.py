"""The rewriter's examples: turns of public sets, turns that are standalone already, and invented follow-up questions.

A question that is clear by itself after any conversation stays unchanged. Pure: no model, no file.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.starter_training.conversations import follow_up
from benchmarks.starter_training.invented import Draw
from benchmarks.starter_training.sources import SourceTurn, history_of
from lorag.pipeline.contracts import rewrite
from lorag.training.sft import Example


def turn_examples(turns: Sequence[SourceTurn]) -> list[Example]:
    """One example a turn, with its first rewrite."""
    return [
        Example(turn.id, rewrite.messages(history_of(turn), turn.question), rewrite.target(turn.rewrites[0]))
        for turn in turns
        if turn.question.strip() and turn.rewrites[0].strip()
    ]


def standalone_examples(turns: Sequence[SourceTurn], count: int, rng: Draw) -> list[Example]:
    """Rewrites used as questions, which stay unchanged after their own conversation or another one."""
    changed = [turn for turn in turns if turn.rewrites[0].strip() and turn.rewrites[0] != turn.question]
    made = []
    for number, turn in enumerate(rng.sample(changed, min(count, len(changed)))):
        before = turn if number % 2 else rng.choice(turns)
        question = turn.rewrites[0]
        made.append(Example(f"{turn.id}-alone", rewrite.messages(history_of(before), question), rewrite.target(question)))
    return made


def follow_up_examples(count: int, rng: Draw) -> list[Example]:
    """Invented conversations on things with properties; the last question depends on them in one of several ways."""
    made = [follow_up(rng) for _ in range(count)]
    return [
        Example(f"follow-{number}", rewrite.messages(turn.history, turn.question), rewrite.target(turn.rewrite))
        for number, turn in enumerate(made)
    ]
