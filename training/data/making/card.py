"""The data card: README.md of a folder of made rows, with the funnel and twenty rows to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.contracts.context import clip, one_line
from lorag.pipeline.records import Role
from lorag.training.data.making.funnel import Funnel
from lorag.training.data.making.records import MadeRow
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.voter_precision import VoterPrecision
from lorag.training.data.rows import EmbedRow, JudgeRow, QuestionRow, RewriteRow

SHOWN = 20
_CHARS = 300


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the card says. `read` are rows in a random order, of which the first of each role are shown."""

    documents: int
    groups: int
    passages: int
    funnel: Funnel
    relaxed: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    kinds: Mapping[str, int]
    spans: Mapping[str, int]
    read: tuple[MadeRow, ...]
    left_out: Mapping[str, int]
    settings: MakingSettings
    writer: str
    voters: tuple[VoterPrecision, ...] = ()


def data_card(facts: CardFacts) -> str:
    """The card in Markdown."""
    blocks = [
        "# Made training rows",
        f"Made by `lorag data make` from {facts.documents} documents in {facts.groups} groups, {facts.passages} passages, seed "
        f"{facts.settings.seed}. The questions were written by {facts.writer}. Nobody has read them: made rows train adapters "
        "and choose checkpoints, and what is measured on made test rows promotes nothing.",
        *(f"Left out: {number} documents, {reason}." for reason, number in facts.left_out.items() if number),
        "## Rows",
        _counts(facts.counts),
        "## Funnel",
        f"{facts.funnel.asked} questions were asked for, to {facts.funnel.spans} spans.",
        _table(("filter", "it lets through", "dropped", "left"), _steps(facts.funnel)),
        *(each.sentence(facts.settings.voter) for each in facts.voters),
        *(f"Too few passed, so this was relaxed: {change}." for change in facts.relaxed),
        "## What the answers are",
        _table(("kind of span", "questions"), _most_first(facts.spans)),
        _table(("row", "number"), sorted(facts.kinds.items())),
        f"## {SHOWN} rows to read",
        "Drawn evenly from the roles. `origin.jsonl` says where each row comes from, `rejected.jsonl` what was dropped.",
        "\n".join(_shown(facts.read)),
    ]
    return "\n\n".join(blocks) + "\n"


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    roles = [role.value for role in Role if any(role.value in held for held in counts.values())]
    return _table(("folder", *roles), ((place, *(held.get(role, 0) for role in roles)) for place, held in sorted(counts.items())))


def _steps(funnel: Funnel) -> Iterator[tuple[object, ...]]:
    for step in funnel.steps:
        yield step.filter.value, step.meaning, step.dropped, step.left


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _table(head: Sequence[str], rows: Iterator[Sequence[object]] | Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(one_line(str(cell)).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _shown(rows: Sequence[MadeRow]) -> Iterator[str]:
    """The first rows of each role, `SHOWN` in all, as list items."""
    roles = list(dict.fromkeys(each.role for each in rows))
    number = 0
    for at, role in enumerate(sorted(roles)):
        share = SHOWN // len(roles) + (at < SHOWN % len(roles))
        for each in [row for row in rows if row.role is role][:share]:
            number += 1
            yield f"{number}. {role.value} ({each.how}, `{each.id}`): {_text(each)}"


def _text(made: MadeRow) -> str:
    match made.row:
        case EmbedRow() as row:
            text = f"{row.query} → `{row.positive_ids[0]}`: {made.of[0].candidate.span.text}"
        case QuestionRow() as row:
            text = f"{row.question} → {row.answers[0] if row.answers else 'no answer'}"
        case RewriteRow() as row:
            text = " / ".join([*map(str, row.history), f"User: {row.question}"]) + f" → {row.rewrite}"
        case JudgeRow() as row:
            asked = f"{row.inputs.question} {row.inputs.answer}".strip()
            text = f"{row.task}: {asked} [{row.inputs.passages[0].text if row.inputs.passages else ''}] → {row.label}"
    return clip(one_line(text), _CHARS)
