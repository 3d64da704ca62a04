"""Invented documents and conversations that no training saw, to measure an adapter on: the file `invented.json`.

Codes, numbers, names and dates must be copied exactly. `benchmarks/starter_training` makes the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.records import Turn
from lorag.pipeline.storage.strict_json import build, load_json

FILE = Path(__file__).with_name("invented.json")
_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A question; `number` is that of the passage that answers it (0: none), `reply` the exact words."""

    question: str
    number: int
    reply: str


@dataclass(frozen=True, slots=True)
class Document:
    """Passages, and questions on them."""

    passages: tuple[PassageText, ...]
    asked: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """The last turn of a conversation; `rewrite` is the question itself if that is standalone."""

    history: tuple[Turn, ...]
    question: str
    rewrite: str


@dataclass(frozen=True, slots=True)
class Judgment:
    """An input of the judge's task `task` and its label; `answer` is empty if the task judges none."""

    id: str
    task: str
    question: str
    answer: str
    label: str


@dataclass(frozen=True, slots=True)
class JudgedDocument:
    """Passages, and judgments on them."""

    id: str
    passages: tuple[PassageText, ...]
    judgments: tuple[Judgment, ...]


@dataclass(frozen=True, slots=True)
class Invented:
    """All that the file holds, in the order in which it is used."""

    documents: tuple[Document, ...]
    conversations: tuple[Conversation, ...]
    judged: tuple[JudgedDocument, ...]


@cache
def read_invented() -> Invented:
    """The invented items."""
    return build(Invented, load_json(FILE, limit=_LIMIT), str(FILE))
