"""The records that pass between the steps of making rows. Knows no rule and no model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.records import Role
from lorag.training.data.rows import EmbedRow, JudgeRow, QuestionRow, RewriteRow


class SpanKind(StrEnum):
    """What a span is, by the rule that found it."""

    QUANTITY = "quantity"
    MONEY = "money"
    DATE = "date"
    TIME = "time"
    CODE = "code"
    NAME = "name"
    VALUE = "value of a key"
    CELL = "table cell"
    ITEM = "list item"
    REASON = "reason"
    SENTENCE = "sentence"


@dataclass(frozen=True, slots=True)
class Span:
    """`text` is `start:end` of the text of the passage `passage_id`."""

    passage_id: str
    text: str
    start: int
    end: int
    kind: SpanKind


@dataclass(frozen=True, slots=True)
class Order:
    """A question to be written: the span that answers it, the manner, and which sample of that span it is."""

    span: Span
    manner: Manner
    sample: int

    @property
    def id(self) -> str:
        """The id of the rows that are made of it: of the span's place, manner and sample alone."""
        span = self.span
        return f"m-{digest(span.passage_id, span.start, span.end, self.manner, self.sample)[:10]}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question that was written to an order, with the seed of its draw. `question` is empty if the reply was none."""

    order: Order
    seed: int
    question: str

    @property
    def id(self) -> str:
        return self.order.id

    @property
    def span(self) -> Span:
        return self.order.span


@dataclass(frozen=True, slots=True)
class Scores:
    """What the filters found. Ranks count from 1; 0 means that the passage was not found. A voter that was not asked is None."""

    rank: int = 0
    word_rank: int = 0
    own_span: float | None = None
    reader_f1: float | None = None
    answerable: float | None = None
    supported: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A question that passed. `also` are other passages that answer it; `barred` may answer it, so they are no negatives.
    `ranking` is what a search for it finds, best first."""

    candidate: Candidate
    scores: Scores = field(default_factory=Scores)
    also: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    ranking: tuple[str, ...] = ()

    @property
    def passage_ids(self) -> tuple[str, ...]:
        """The passages that answer it, the one it was written from first."""
        return (self.candidate.span.passage_id, *self.also)


@dataclass(frozen=True, slots=True)
class MadeRow:
    """A row of a role and a split, the questions that it was made of, and how."""

    role: Role
    split: str
    row: RewriteRow | QuestionRow | EmbedRow | JudgeRow
    of: tuple[Accepted, ...]
    how: str

    @property
    def id(self) -> str:
        return self.row.query_id if isinstance(self.row, EmbedRow) else self.row.id


class Filter(StrEnum):
    """The filters, in the order in which they are applied."""

    WRITTEN = "written"
    FORM = "form"
    LEAK = "leak"
    UNFOUNDED = "unfounded"
    COPY = "copy"
    ROUND_TRIP = "round trip"
    AGREEMENT = "agreement"
    AMBIGUOUS = "ambiguous"
    SPAN = "one a span"
    DUPLICATE = "duplicate"
    QUOTA = "quota"


MEANINGS: Mapping[Filter, str] = {
    Filter.WRITTEN: "the model's reply is a question",
    Filter.FORM: "length, no mention of “the passage”, no special tokens",
    Filter.LEAK: "the answer does not stand in the question",
    Filter.UNFOUNDED: "it speaks of what passage or title speak of",
    Filter.COPY: "it is not copied from the answer's sentence",
    Filter.ROUND_TRIP: "a search for it finds its passage",
    Filter.AGREEMENT: "it is asked about its own span, and the reader gives that back",
    Filter.AMBIGUOUS: "few other passages answer it",
    Filter.SPAN: "no other question on its span is better",
    Filter.DUPLICATE: "no other question says nearly the same",
    Filter.QUOTA: "a share for each passage, document, kind and ease",
}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A question that a filter dropped, and why."""

    candidate: Candidate
    filter: Filter
    reason: str


def digest(*parts: object) -> str:
    """64 hex digits over the parts: all that is drawn comes from such digests, never from an order or a clock."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def draw(*parts: object) -> float:
    """A number from 0 to below 1 that the parts determine."""
    return int(digest(*parts)[:13], 16) / 16**13


_T = TypeVar("_T")


def placed(item: _T, others: Sequence[_T], key: object) -> list[_T]:
    """The item among the others, which keep their order, at a place that the key determines."""
    place = int(draw("place", key) * (len(others) + 1))
    return [*others[:place], item, *others[place:]]


def shuffled(items: Iterable[_T], key: Callable[[_T], object]) -> list[_T]:
    """The items in an order that their keys determine, whatever order they come in."""
    return sorted(items, key=lambda item: digest(key(item)))
