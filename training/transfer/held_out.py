"""Test items that an adapter did not learn: the test rows of another data folder, and invented ones. Knows no model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from lorag.pipeline.contracts.judge import ANSWERABILITY, BUILT_IN, SUPPORT, JudgeInputs
from lorag.pipeline.evaluation.ablation import JudgeItem, RewriteItem
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.rewrites import GoldRewrite
from lorag.pipeline.records import Hit, Query
from lorag.training.data.rows import PassageRow, require_passages
from lorag.training.dataset import DataFolder, judge_schemas
from lorag.training.examples import as_shown, gold_passages, search_text, shown_passages
from lorag.training.passage_search import as_passage
from lorag.training.transfer.invented import read_invented

SHOWN = 4
"""Passages shown with a question, as in the chain."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GroundedItem:
    """A question with the passages shown and the gold answer."""

    gold: GoldAnswer
    question: str
    hits: tuple[Hit, ...]


def folder_questions(data: DataFolder, count: int) -> list[GroundedItem]:
    """At most `count` test questions, each with `SHOWN` passages in random order.

    They are its gold ones, if it is answerable, its near ones, and others at random. A question that leans on its history and has
    no standalone form is left out. Raises DataError for a missing file or passage.
    """
    rows = _sample([row for row in data.questions("test") if row.standalone or not row.history], count)
    passages, gold, rng = data.passages(), gold_passages(rows), random.Random(0)
    require_passages(rows, passages.values(), str(data.folder))
    ids = list(passages)
    items = []
    for row in rows:
        others = rng.sample(ids, min(len(ids), 4 * SHOWN))
        shown = shown_passages(row, [*row.near_ids, *others], SHOWN, gold[search_text(row)])
        hits = tuple(Hit(as_passage(as_shown(row, passages[id_])), 0.0) for id_ in rng.sample(shown, len(shown)))
        key = GoldAnswer(
            row.id, row.answers, row.answerable, row.passage_ids if row.answerable else (), row.quotes, row.group or row.id
        )
        items.append(GroundedItem(key, row.standalone or row.question, hits))
    return items


def folder_turns(data: DataFolder, count: int) -> list[RewriteItem]:
    """At most `count` test turns that have a history. Raises DataError for a missing file."""
    rows = _sample([row for row in data.rewrites("test") if row.history], count)
    return [
        RewriteItem(
            Query(row.question, row.history),
            GoldRewrite(row.id, row.question, row.gold, row.conversation or row.group or row.id),
        )
        for row in rows
    ]


def folder_judgments(data: DataFolder, count: int) -> dict[str, list[JudgeItem]]:
    """Task → at most `count` test judgments. Raises DataError for a missing file, or a task that the project does not know."""
    rows, schemas = data.judgments("test"), judge_schemas(data.intents)
    return {
        task: [
            JudgeItem(row.id, schemas[task], row.inputs, row.label, row.group or row.id)
            for row in _sample([row for row in rows if row.task == task], count)
        ]
        for task in dict.fromkeys(row.task for row in rows)
    }


def _sample(rows: Sequence[T], count: int) -> list[T]:
    return random.Random(0).sample(rows, min(count, len(rows)))


def invented_items(count: int) -> list[GroundedItem]:
    """Questions on invented documents, at most `count`."""
    items: list[GroundedItem] = []
    for document in read_invented().documents:
        number = len(items)
        hits = tuple(
            Hit(as_passage(PassageRow(f"sheet-{number}-{n}", passage.title, passage.text)), 0.0)
            for n, passage in enumerate(document.passages, 1)
        )
        for n, asked in enumerate(document.asked):
            gold = (f"sheet-{number}-{asked.number}",) if asked.number else ()
            answers = (asked.reply,) if asked.number else ()
            key = GoldAnswer(f"sheet-{number}-q{n}", answers, bool(asked.number), gold, group=f"sheet-{number}")
            items.append(GroundedItem(key, asked.question, hits))
    return items[:count]


def invented_turns(count: int) -> list[RewriteItem]:
    """Last turns of invented conversations, some of which are standalone; at most `count`."""
    return [
        RewriteItem(Query(turn.question, turn.history), GoldRewrite(f"turn-{n}", turn.question, (turn.rewrite,), f"turn-{n}"))
        for n, turn in enumerate(read_invented().conversations[:count])
    ]


def invented_judgments(count: int) -> dict[str, list[JudgeItem]]:
    """Task → at most `count` items on invented documents: answerability, and support of an answer."""
    found: dict[str, list[JudgeItem]] = {ANSWERABILITY.task: [], SUPPORT.task: []}
    for document in read_invented().judged:
        for each in document.judgments:
            inputs = JudgeInputs(question=each.question, answer=each.answer, passages=document.passages)
            found[each.task].append(JudgeItem(each.id, BUILT_IN[each.task], inputs, each.label, document.id))
    return {task: items[:count] for task, items in found.items()}
