"""Made rows that a person reads: what is shown, what was said, and the test rows that follow from it.

    ROWS/reviewed.jsonl        one verdict a line, in the order given; the last on a row counts
    ROWS/test/ROLE.jsonl       what the person kept or corrected, as human rows: the honest test
    ROWS/made-test/ROLE.jsonl  the made test rows that nobody has read

Some questions that a filter dropped are shown among the others, unmarked, so that the filters are measured too. Knows no
terminal.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Role
from lorag.pipeline.storage.jsonl import read_lines, write_jsonl
from lorag.pipeline.storage.strict_json import build, plain
from lorag.training.data.formats.splitting import TEST
from lorag.training.data.making.folder import ORIGIN, REJECTED
from lorag.training.data.making.human import MADE_TEST
from lorag.training.data.rows import EmbedRow, PassageRow, QuestionRow, read_embeds, read_questions
from lorag.training.data.writing import write_rows
from lorag.training.dataset import DataFolder

REVIEWED = "reviewed.jsonl"

DROPPED_SHARE = 0.2
"""Share of the questions shown that a filter had dropped."""

UNREAD_FILTERS = ("written", "one a span", "duplicate", "quota")
"""Filters that say nothing of whether a question is sound."""

PRECISE = 0.8
"""A filter below this precision is named."""

FEW = 5
"""With fewer verdicts than these, nothing is said of a filter."""


class Verdict(StrEnum):
    KEEP = "keep"
    DROP = "drop"
    CORRECT = "correct"


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A question with its answer (empty: the passages do not say) and the passages it is on. `filter` dropped it, if any did."""

    id: str
    question: str
    answer: str
    passages: tuple[PassageRow, ...]
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a person said of an item; `question` and `answer` are as corrected."""

    id: str
    verdict: Verdict
    question: str
    answer: str
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the items that a filter dropped, how many the person drops too. The name is empty for those that passed all filters:
    then how many the person keeps."""

    filter: str
    agreed: int
    seen: int

    @property
    def precision(self) -> float:
        return self.agreed / self.seen

    @property
    def is_weak(self) -> bool:
        return self.seen >= FEW and self.precision < PRECISE


def review_items(folder: Path, count: int, seed: int = 0) -> tuple[ReviewItem, ...]:
    """At most `count` items that were not reviewed yet, drawn with `seed`: made test questions, and some that filters dropped.

    Raises DataError if the folder holds no made test questions.
    """
    data = DataFolder(folder, {})
    passages, done = data.passages(), {each.id for each in read_reviewed(folder)}
    made = [row for row in _made_questions(folder) if row.id not in done]
    dropped = [item for item in _dropped(folder, passages) if item.id not in done]
    rng = random.Random(seed)
    wanted = min(len(dropped), round(count * DROPPED_SHARE))
    rows = rng.sample(made, min(len(made), count - wanted))
    items = [_item(row, passages) for row in rows] + rng.sample(dropped, wanted)
    rng.shuffle(items)
    return tuple(items)


def read_reviewed(folder: Path) -> tuple[Reviewed, ...]:
    """The last verdict on each item. Raises DataError for a damaged file."""
    path = folder / REVIEWED
    if not path.is_file():
        return ()
    found = {each.id: each for each in (build(Reviewed, line.fields, line.where) for line in read_lines(path))}
    return tuple(found.values())


def add_reviewed(folder: Path, said: Reviewed) -> None:
    """Note a verdict, and let the test rows follow from all that were given. Raises InputError for a correction without words."""
    if said.verdict is Verdict.CORRECT and not said.question.strip():
        raise InputError("a corrected question must not be empty; drop the row instead")
    verdicts = {each.id: each for each in read_reviewed(folder)} | {said.id: said}
    write_jsonl((plain(each) for each in verdicts.values()), folder / REVIEWED)
    _write_tests(folder, verdicts)


def agreements(reviewed: Sequence[Reviewed]) -> tuple[Agreement, ...]:
    """How far the person agrees with the filters together, then with each one."""
    counted: dict[str, list[bool]] = defaultdict(list)
    for each in reviewed:
        dropped = each.verdict is Verdict.DROP
        counted[each.filter].append(dropped if each.filter else not dropped)
    return tuple(Agreement(name, sum(said), len(said)) for name, said in sorted(counted.items()))


def _made_questions(folder: Path) -> tuple[QuestionRow, ...]:
    """The made test questions, wherever they are. Raises DataError if there are none."""
    found = [row for row in _questions(folder) if row.origin is DataOrigin.MADE]
    if not found and not (folder / REVIEWED).is_file():
        raise DataError(f"{folder}: no made test questions; name a folder that `lorag data make` wrote")
    return tuple(found)


def _questions(folder: Path) -> list[QuestionRow]:
    places = [folder / place / f"{Role.SYNTHESIZER.value}.jsonl" for place in (TEST, MADE_TEST)]
    return [row for path in places if path.is_file() for row in read_questions(path)]


def _embeds(folder: Path) -> list[EmbedRow]:
    places = [folder / place / f"{Role.EMBEDDER.value}.jsonl" for place in (TEST, MADE_TEST)]
    return [row for path in places if path.is_file() for row in read_embeds(path)]


def _item(row: QuestionRow, passages: Mapping[str, PassageRow]) -> ReviewItem:
    shown = tuple(passages[each] for each in (*row.passage_ids, *row.near_ids)[:3] if each in passages)
    return ReviewItem(row.id, row.question, row.answers[0] if row.answerable else "", shown)


def _dropped(folder: Path, passages: Mapping[str, PassageRow]) -> list[ReviewItem]:
    path = folder / REJECTED
    if not path.is_file():
        return []
    found = []
    for line in read_lines(path):
        fields: Mapping[str, Any] = line.fields
        if fields["filter"] not in UNREAD_FILTERS and fields["passage"] in passages and fields["question"]:
            shown = (passages[fields["passage"]],)
            found.append(ReviewItem(fields["id"], fields["question"], fields["span"], shown, fields["filter"]))
    return found


def _write_tests(folder: Path, verdicts: Mapping[str, Reviewed]) -> None:
    """Human rows into test/, made rows that nobody has read into made-test/, dropped ones nowhere."""
    twins = _twins(folder)
    questions, embeds = _questions(folder), _embeds(folder)
    of_twin = {twins[id_]: said for id_, said in verdicts.items() if id_ in twins}
    kept_questions = [_judged(row, verdicts.get(row.id)) for row in questions]
    kept_embeds = [_judged_query(row, of_twin.get(row.query_id)) for row in embeds]
    for role, rows in (
        (Role.SYNTHESIZER, [row for row in kept_questions if row is not None]),
        (Role.EMBEDDER, [row for row in kept_embeds if row is not None]),
    ):
        for place, is_made in ((TEST, False), (MADE_TEST, True)):
            chosen = [row for row in rows if (row.origin is DataOrigin.MADE) is is_made]
            path = folder / place / f"{role.value}.jsonl"
            if chosen:
                write_rows(chosen, path)
            else:
                path.unlink(missing_ok=True)


def _judged(row: QuestionRow, said: Reviewed | None) -> QuestionRow | None:
    if said is None:
        return row
    if said.verdict is Verdict.DROP:
        return None
    corrected = row.answerable and said.answer not in ("", row.answers[0])
    answers = (said.answer,) if corrected else row.answers
    return replace(row, question=said.question, answers=answers, origin=DataOrigin.HUMAN)


def _judged_query(row: EmbedRow, said: Reviewed | None) -> EmbedRow | None:
    if said is None:
        return row
    return None if said.verdict is Verdict.DROP else replace(row, query=said.question, origin=DataOrigin.HUMAN)


def _twins(folder: Path) -> dict[str, str]:
    """Synthesizer row → embedder row that was made of the same question alone."""
    path = folder / ORIGIN
    if not path.is_file():
        return {}
    by_source: dict[tuple[Any, ...], dict[str, str]] = defaultdict(dict)
    for line in read_lines(path):
        fields: Mapping[str, Any] = line.fields
        if len(fields["of"]) == 1 and fields["split"] == TEST:
            source = fields["of"][0]
            # Of several rows the first is the question itself; later ones are changed from it.
            by_source[source["question"], source["passage"], source["start"]].setdefault(fields["role"], fields["id"])
    pairs = (roles for roles in by_source.values() if {Role.SYNTHESIZER.value, Role.EMBEDDER.value} <= roles.keys())
    return {each[Role.SYNTHESIZER.value]: each[Role.EMBEDDER.value] for each in pairs}
