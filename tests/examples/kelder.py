"""The example domain as the tests read it: everything once, through the project's own readers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import yaml

from lorag.bundled import example_folder
from lorag.training.data.rows import EmbedRow, JudgeRow, PassageRow, QuestionRow, RewriteRow
from lorag.training.dataset import SPLITS, DataFolder

FOLDER = example_folder()
DOCUMENTS = FOLDER / "documents"
INTENTS: dict[str, str] = yaml.safe_load((FOLDER / "lorag.yaml").read_text(encoding="utf-8"))["judge"]["intents"]
SEALED = "sealed"
"""The part of the test set with documents and passages of its own, opened for promotion alone."""
PARTS = (*SPLITS, SEALED)

Row = RewriteRow | QuestionRow | JudgeRow | EmbedRow


@dataclass(frozen=True, slots=True)
class Split:
    rewrites: tuple[RewriteRow, ...]
    questions: tuple[QuestionRow, ...]
    judgments: tuple[JudgeRow, ...]
    embed_rows: tuple[EmbedRow, ...]

    def rows(self) -> tuple[Row, ...]:
        return (*self.rewrites, *self.questions, *self.judgments, *self.embed_rows)


@cache
def passages() -> dict[str, PassageRow]:
    """The passages of the corpus, without those of the sealed part."""
    return DataFolder(FOLDER, INTENTS).passages()


@cache
def sealed_passages() -> dict[str, PassageRow]:
    return DataFolder(FOLDER / SEALED, INTENTS).passages()


@cache
def all_passages() -> dict[str, PassageRow]:
    return passages() | sealed_passages()


@cache
def parts() -> dict[str, Split]:
    """The three splits and the sealed part."""
    data = DataFolder(FOLDER, INTENTS)
    return {p: Split(data.rewrites(p), data.questions(p), data.judgments(p), data.embed_rows(p)) for p in PARTS}


@cache
def splits() -> dict[str, Split]:
    return {name: parts()[name] for name in SPLITS}


@cache
def groups() -> dict[str, tuple[str, frozenset[str]]]:
    """Group → its split, or `sealed`, and its documents."""
    read = json.loads((FOLDER / "groups.json").read_text(encoding="utf-8"))
    sealed = json.loads((FOLDER / SEALED / "groups.json").read_text(encoding="utf-8"))
    assert not read.keys() & sealed.keys()
    known = {name: (group["split"], frozenset(group["documents"])) for name, group in read.items()}
    return known | {name: (SEALED, frozenset(group["documents"])) for name, group in sealed.items()}


def named_passages(row: Row) -> tuple[str, ...]:
    """Every passage a row points to or shows."""
    match row:
        case QuestionRow():
            return (*row.passage_ids, *row.near_ids)
        case EmbedRow():
            return (*row.positive_ids, *row.negative_ids)
        case _:
            return row.passage_ids


def texts(split: Split) -> Iterator[tuple[str, str]]:
    """Id and text of every question, standalone turn and judged message, question or answer."""
    for question in split.questions:
        yield question.id, question.question
    for turn in split.rewrites:
        yield turn.id, turn.rewrite
    for row in split.judgments:
        yield row.id, row.inputs.message or row.inputs.question or row.inputs.answer


def document_of(passage_id: str) -> str:
    return passage_id.partition("#")[0]


def plain(text: str) -> str:
    """`text` with every run of white space made one blank."""
    return re.sub(r"\s+", " ", text).strip()
