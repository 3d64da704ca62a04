"""Made rows that a person reads: what is shown, and how a verdict is kept. Terminal and page both go through here.

Some questions that a filter dropped are shown among the others, unmarked, so that the filters are measured too. Two people may
read at once: each verdict is added under a lock on the folder. Knows no terminal and no page.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Role
from lorag.pipeline.storage.jsonl import read_lines, write_jsonl
from lorag.pipeline.storage.locks import locked
from lorag.pipeline.storage.strict_json import plain
from lorag.training.data.formats.splitting import TEST
from lorag.training.data.making.folder import ORIGIN, REJECTED
from lorag.training.data.making.human import MADE_TEST
from lorag.training.data.reviewed import REVIEWED, Reviewed, Verdict, read_reviewed
from lorag.training.data.reviewed_rows import AS_MADE, write_reviewed_rows
from lorag.training.data.rows import PassageRow, QuestionRow, read_questions
from lorag.training.dataset import DataFolder

DROPPED_SHARE = 0.2
"""Share of the questions shown that a filter had dropped."""

UNREAD_FILTERS = ("written", "one a span", "duplicate", "quota")
"""Filters that say nothing of whether a question is sound."""

SHOWN = 3
"""Passages of a question that nothing answers, at most."""


@dataclass(frozen=True, slots=True)
class Place:
    """`start:end` of a passage's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A question with its answer, the passage it was made from, and the answer's place in it. `filter` dropped it, if any did.

    An empty answer: the passages, which are those nearest to the question, do not say.

    An answered one has one passage, kept or dropped. Were there more beside kept ones, their number would tell them apart.
    """

    id: str
    question: str
    answer: str
    passages: tuple[PassageRow, ...]
    place: Place | None = None
    filter: str = ""


@dataclass(frozen=True, slots=True)
class ReviewPool:
    """All items of a folder, read or not. It stays the same whatever is said of them."""

    made: tuple[ReviewItem, ...]
    dropped: tuple[ReviewItem, ...]

    def unread(self, done: Collection[str]) -> list[ReviewItem]:
        """The made questions whose ids are not in `done`."""
        return [item for item in self.made if item.id not in done]

    def draw(self, done: Collection[str], count: int, seed: int) -> tuple[ReviewItem, ...]:
        """At most `count` items whose ids are not in `done`, drawn with `seed`: made questions, and some that filters dropped.

        None once all made questions are done.
        """
        made = self.unread(done)
        if not made:
            return ()
        dropped = [item for item in self.dropped if item.id not in done]
        rng = random.Random(seed)
        wanted = min(len(dropped), round(count * DROPPED_SHARE))
        items = rng.sample(made, min(len(made), count - wanted)) + rng.sample(dropped, wanted)
        rng.shuffle(items)
        return tuple(items)


def open_pool(folder: Path) -> ReviewPool:
    """The items of a folder that `lorag data make` wrote. A verdict whose rows a kill left unwritten is completed.

    Raises DataError if the folder holds no made test questions.
    """
    passages = DataFolder(folder, {}).passages()
    with _alone(folder):
        if verdicts := _verdicts(folder):
            write_reviewed_rows(folder, verdicts)
        made = _made_questions(folder)
    places = _places(folder, passages)
    return ReviewPool(tuple(_item(row, passages, places) for row in made), _dropped(folder, passages))


def review_items(folder: Path, count: int, seed: int = 0) -> tuple[ReviewItem, ...]:
    """At most `count` items that were not reviewed yet, as `ReviewPool.draw`. Raises as `open_pool`."""
    return open_pool(folder).draw(_verdicts(folder).keys(), count, seed)


def give_verdict(folder: Path, item: ReviewItem, verdict: Verdict, *, question: str = "", answer: str = "") -> Reviewed:
    """Keep what a person says of an item. A correction gives `question`, `answer` or both; what it leaves out stays as it was
    corrected before, or as it was made.

    Raises InputError for a correction without words, and for an answer to a question that is there because nothing answers it.
    """
    question, answer = question.strip(), answer.strip()
    if verdict is not Verdict.CORRECT:
        return add_reviewed(folder, Reviewed(item.id, verdict, item.question, item.answer, item.filter))
    if not (question or answer):
        raise InputError("a correction needs a question or an answer; drop the row instead")
    if answer and not item.answer:
        raise InputError("this row says that the passages do not answer; if they do, drop it")
    before = _verdicts(folder).get(item.id)
    last = before if before is not None and before.verdict is Verdict.CORRECT else item
    return add_reviewed(folder, Reviewed(item.id, verdict, question or last.question, answer or last.answer, item.filter))


def add_reviewed(folder: Path, said: Reviewed) -> Reviewed:
    """Note a verdict, and let the test rows follow from all that were given. Raises InputError for a correction without words."""
    if said.verdict is Verdict.CORRECT and not said.question.strip():
        raise InputError("a corrected question must not be empty; drop the row instead")
    with _alone(folder):
        verdicts = _verdicts(folder) | {said.id: said}
        write_jsonl((plain(each) for each in verdicts.values()), folder / REVIEWED)
        write_reviewed_rows(folder, verdicts)
    return said


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within: no other process or thread reads or writes verdicts here."""
    try:
        with locked(folder):
            yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{folder}: cannot be written ({reason}); copy the folder to where you may write") from error


def _verdicts(folder: Path) -> dict[str, Reviewed]:
    return {each.id: each for each in read_reviewed(folder)}


def _made_questions(folder: Path) -> tuple[QuestionRow, ...]:
    """The made test questions, wherever they are. Raises DataError if there are none."""
    paths = [folder / place / f"{Role.SYNTHESIZER.value}.jsonl" for place in (AS_MADE, MADE_TEST, TEST)]
    rows = [row for path in paths if path.is_file() for row in read_questions(path)]
    found = {row.id: row for row in rows if row.origin is DataOrigin.MADE}
    if not found:
        raise DataError(f"{folder}: no made test questions; name a folder that `lorag data make` wrote")
    return tuple(found[id_] for id_ in sorted(found))


def _item(row: QuestionRow, passages: Mapping[str, PassageRow], places: Mapping[str, Place]) -> ReviewItem:
    if not row.answerable:
        shown = tuple(passages[each] for each in (*row.passage_ids, *row.near_ids)[:SHOWN] if each in passages)
        return ReviewItem(row.id, row.question, "", shown)
    own = tuple(passages[each] for each in row.passage_ids[:1] if each in passages)
    return ReviewItem(row.id, row.question, row.answers[0], own, places.get(row.id))


def _places(folder: Path, passages: Mapping[str, PassageRow]) -> dict[str, Place]:
    """Test question → where its answer stands. The file holds the rows of all roles and splits; only these are parsed."""
    path = folder / ORIGIN
    if not path.is_file():
        return {}
    wanted = f'"role": "{Role.SYNTHESIZER.value}", "split": "{TEST}"'
    with _intact(path), path.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file if wanted in line]
        pairs = [(line["id"], _place(line["of"][0], passages)) for line in lines if len(line["of"]) == 1]
    return {id_: place for id_, place in pairs if place is not None}


def _place(source: Mapping[str, Any], passages: Mapping[str, PassageRow]) -> Place | None:
    """Of a span that the passage still holds there."""
    passage = passages.get(source["passage"])
    start, end = source["start"], source["end"]
    holds = passage is not None and passage.text[start:end] == source["span"]
    return Place(start, end) if holds else None


def _dropped(folder: Path, passages: Mapping[str, PassageRow]) -> tuple[ReviewItem, ...]:
    path = folder / REJECTED
    if not path.is_file():
        return ()
    found = []
    with _intact(path):
        for line in read_lines(path):
            fields: Mapping[str, Any] = line.fields
            if fields["filter"] not in UNREAD_FILTERS and fields["passage"] in passages and fields["question"]:
                shown, answer = (passages[fields["passage"]],), " ".join(fields["span"].split())
                place = _place(fields, passages)
                found.append(ReviewItem(fields["id"], fields["question"], answer, shown, place, fields["filter"]))
    return tuple(found)


@contextlib.contextmanager
def _intact(path: Path) -> Iterator[None]:
    """Within: a file that `lorag data make` wrote is read. Raises DataError if a line of it is not as it was written."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise DataError(f"{path}: damaged or not written by `lorag data make`; make the rows anew") from error
