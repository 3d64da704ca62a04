"""The routes of the page of `lorag data review --web`: made rows to read, one by one, and what is said of them.

A client names rows by their ids. It never learns which of them a filter dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from lorag.pipeline.feedback.records import MAX_ANSWER, MAX_QUESTION
from lorag.pipeline.storage.digests import text_digest
from lorag.services.api.bodies import Strict, Text, Whole
from lorag.services.api.errors import ApiError
from lorag.services.api.metrics import Metrics
from lorag.services.api.server import LOOPBACK
from lorag.services.api.state import Limits
from lorag.training.data.reviewed import Reviewed, Verdict, agreements, read_reviewed
from lorag.training.data.reviewing import ReviewItem, ReviewPool, give_verdict, open_pool

MAX_ROWS = 1000

router = APIRouter(prefix="/v1/review")


@dataclass(frozen=True, slots=True, eq=False)
class ReviewState:
    """One folder of rows. `counts` are the numbers of rows that the page offers; each draw has the next seed."""

    folder: Path
    pool: ReviewPool
    items: Mapping[str, ReviewItem]
    counts: tuple[int, ...]
    seeds: count[int]
    limits: Limits = Limits()
    hosts: frozenset[str] | None = frozenset(LOOPBACK)
    metrics: Metrics = field(default_factory=Metrics)

    @classmethod
    def open(cls, folder: Path, counts: tuple[int, ...], seed: int) -> Self:
        """Read the folder. Raises DataError if it holds no made test questions."""
        pool = open_pool(folder)
        return cls(folder, pool, {item.id: item for item in (*pool.made, *pool.dropped)}, counts, count(seed))

    def item(self, id_: str) -> ReviewItem:
        """Raises ApiError 404."""
        found = self.items.get(id_)
        if found is None:
            raise ApiError(404, "there is no such row in this folder", code="unknown_row", param="id")
        return found

    def said(self) -> dict[str, Reviewed]:
        """The verdicts on items of the folder, by id."""
        return {each.id: each for each in read_reviewed(self.folder) if each.id in self.items}


def _state(request: Request) -> ReviewState:
    state: Any = request.app.state.review
    assert isinstance(state, ReviewState)
    return state


State = Annotated[ReviewState, Depends(_state)]


class BatchRequest(Strict):
    """How many rows to read."""

    rows: Annotated[Whole, Field(ge=1, le=MAX_ROWS)]


class VerdictRequest(Strict):
    """What is said of a row. Only a correction has a question or an answer; what it leaves out stays as it is."""

    id: Text
    verdict: Literal["keep", "drop", "correct"]
    question: Annotated[Text, StringConstraints(max_length=MAX_QUESTION)] = ""
    answer: Annotated[Text, StringConstraints(max_length=MAX_ANSWER)] = ""

    @model_validator(mode="after")
    def _only_a_correction_has_words(self) -> Self:
        if self.verdict != "correct" and (self.question or self.answer):
            raise PydanticCustomError("words", 'a question or an answer goes with the verdict "correct" alone')
        return self


class Overview(BaseModel):
    """The folder by its name, and a digest of its path, by which a page knows that it is still the same.

    `read` counts all rows with a verdict, `unread` the made rows without one.
    """

    object: Literal["review"] = "review"
    id: str
    name: str
    read: int
    unread: int
    counts: tuple[int, ...]


class Batch(BaseModel):
    """The ids of rows that nobody has read yet."""

    object: Literal["review.batch"] = "review.batch"
    rows: list[str]


class AnswerPlace(BaseModel):
    """Where the answer stands in a passage's text, in code points."""

    start: int
    end: int


class ReviewPassage(BaseModel):
    title: str
    text: str
    answer: AnswerPlace | None


class Said(BaseModel):
    verdict: Verdict
    question: str
    answer: str


class Item(BaseModel):
    """A row. An empty answer: the passages do not say. `said` is the last verdict on it."""

    object: Literal["review.item"] = "review.item"
    id: str
    question: str
    answer: str
    passages: list[ReviewPassage]
    said: Said | None


class FilterAgreement(BaseModel):
    """One line of the end. `weak`: a filter, or all of them together, that the person disagrees with too often."""

    text: str
    weak: bool


class Agreements(BaseModel):
    object: Literal["review.agreement"] = "review.agreement"
    filters: list[FilterAgreement]


@router.get("")
def overview(state: State) -> Overview:
    """How much is read."""
    said, place = state.said(), state.folder.resolve()
    unread = len(state.pool.unread(said.keys()))
    return Overview(id=text_digest(str(place))[:16], name=place.name, read=len(said), unread=unread, counts=state.counts)


@router.post("/batches")
def draw(body: BatchRequest, state: State) -> Batch:
    """Rows to read, other ones each time. Fewer than asked for if no more are left."""
    items = state.pool.draw(state.said().keys(), body.rows, next(state.seeds))
    return Batch(rows=[item.id for item in items])


@router.get("/items/{id:path}")
def show(id: str, state: State) -> Item:
    """One row with its passages."""
    return _shown(state.item(id), state.said().get(id))


@router.post("/verdicts")
def give(body: VerdictRequest, state: State) -> Item:
    """Keep a verdict, which replaces an earlier one on the same row."""
    item = state.item(body.id)
    said = give_verdict(state.folder, item, Verdict(body.verdict), question=body.question, answer=body.answer)
    return _shown(item, said)


@router.get("/agreement")
def agreement(state: State) -> Agreements:
    """How far all verdicts agree with the filters, in the words of the terminal."""
    found = agreements(read_reviewed(state.folder))
    return Agreements(filters=[FilterAgreement(text=str(each), weak=each.is_weak) for each in found])


def _shown(item: ReviewItem, said: Reviewed | None) -> Item:
    place = None if item.place is None else AnswerPlace(start=item.place.start, end=item.place.end)
    passages = [ReviewPassage(title=each.title, text=each.text, answer=place) for each in item.passages]
    last = None if said is None else Said(verdict=said.verdict, question=said.question, answer=said.answer)
    return Item(id=item.id, question=item.question, answer=item.answer, passages=passages, said=last)
