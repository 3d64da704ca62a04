"""The public sets that starters are made from and measured on: rows of a data folder → records, split by article.

An article, a conversation or a dialogue is in one split as a whole. A hash of its name decides which, so the same rows are held
out on every machine and by every recipe. Knows no prompt and no model.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lorag.pipeline.contracts.context import parse_turn
from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Turn

Split = Literal["train", "dev", "test"]

BY_TITLE = ("squad_newwiki", "qed_nq", "medquad")
"""Sets whose passages of one title are one article."""

TEST_PERCENT = 12
DEV_PERCENT = 4


@dataclass(frozen=True, slots=True)
class SourcePassage:
    """`article` decides the split: the title if articles have several passages, else the passage itself."""

    id: str
    title: str
    text: str
    article: str


@dataclass(frozen=True, slots=True)
class SourceQuestion:
    """A question that its passage answers; `answers` are alternatives. `label`: yes, no or maybe, if the set has it."""

    id: str
    question: str
    answers: tuple[str, ...]
    passage_id: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """One set, or one split of it."""

    name: str
    passages: Mapping[str, SourcePassage]
    questions: tuple[SourceQuestion, ...]


@dataclass(frozen=True, slots=True)
class SourceTurn:
    """One turn of a rewriting set; `history` as in the training rows, oldest first, each with its speaker."""

    id: str
    conversation: str
    history: tuple[str, ...]
    question: str
    rewrites: tuple[str, ...]


def history_of(turn: SourceTurn) -> tuple[Turn, ...]:
    """The conversation before the turn, each turn with its speaker."""
    return tuple(parse_turn(text) for text in turn.history)


def split_of(source: str) -> Split:
    """The split of an article or conversation, by a hash of its name (case and blanks do not matter)."""
    name = " ".join(source.casefold().split())
    percent = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 100
    if percent < TEST_PERCENT:
        return "test"
    return "dev" if percent < TEST_PERCENT + DEV_PERCENT else "train"


def read_rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows of `name`.jsonl.gz in `folder`. Raises DataError if it is missing or a line is not a JSON object."""
    path = folder / f"{name}.jsonl.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}:{number}: not a JSON object")
                yield row
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; name the folder of the public sets (README.md here says which)") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def read_corpus(folder: Path, name: str, split: Split, *, by_title: bool) -> Corpus:
    """The questions and passages of `name` whose article is in `split`. A question keeps its first passage."""
    passages = {}
    for row in read_rows(folder, f"{name}.passages"):
        article = f"{name} {row['title'] if by_title and row['title'] else row['id']}"
        if split_of(article) == split:
            passages[row["id"]] = SourcePassage(row["id"], row["title"], row["text"], article)
    questions = tuple(
        SourceQuestion(
            row["id"], row.get("standalone") or row["question"], tuple(row["answers"]), row["passage_id"], row.get("label", "")
        )
        for row in read_rows(folder, f"{name}.train")
        if row["answerable"] and row["answers"] and row["passage_id"] in passages
    )
    return Corpus(name, passages, questions)


def corpus(folder: Path, name: str, split: Split) -> Corpus:
    """One split of a reading set, articles by the set's rule."""
    return read_corpus(folder, name, split, by_title=name in BY_TITLE)


CONVERSATION_OF = {
    "rewrite_canard": re.compile(r"Topic: (.+?)(?: - .*)?$"),
    "rewrite_cast": re.compile(r"(cast\d+-\d+)_"),
    "rewrite_ikat23": re.compile(r"ikat23\w\w-(\d+)-"),
    "rewrite_gecor": re.compile(r"(gecor-\d+)-"),
    "rewrite_alexa_cqr": re.compile(r"(cqr-\w+-\d+)-"),
}
"""The pattern of the conversation in a turn's id; for CANARD, in its first history line. PACIFIC's is its first turn."""


def read_turns(folder: Path, name: str, split: Split) -> tuple[SourceTurn, ...]:
    """The turns of a rewriting set that have a history and whose conversation is in `split`."""
    turns = []
    for row in read_rows(folder, f"{name}.train"):
        history = tuple(row["history"])
        if not history:
            continue
        conversation = _conversation(name, row["id"], history)
        if split_of(f"{name} {conversation}") == split:
            rewrites = tuple(dict.fromkeys([row["rewrite"], *row.get("rewrites", ())]))
            turns.append(SourceTurn(row["id"], conversation, history, row["question"], rewrites))
    return tuple(turns)


def _conversation(name: str, id_: str, history: tuple[str, ...]) -> str:
    pattern = CONVERSATION_OF.get(name)
    if pattern is None:
        return history[0]
    found = pattern.match(history[0] if name == "rewrite_canard" else id_)
    if found is None:
        raise DataError(f"{name}: row {id_!r} does not say which conversation it is of")
    return found[1]
