"""The held-out split of a data folder → the test set that the ablation measures. Reads files; asks no model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from pipeline.evaluation.ablation import ChainItem, JudgeItem, RewriteItem, TestSet
from pipeline.evaluation.answers import GoldAnswer
from pipeline.evaluation.rewrites import GoldRewrite
from pipeline.records import Query, Role
from training.data.rows import JudgeRow, QuestionRow, RewriteRow
from training.dataset import DataFolder, judge_schemas

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many items the model is asked about; 0 means all. Retrieval alone is always measured on every question.

    `unanswerable` are part of `questions`; `judgments` count per judge task.
    """

    questions: int = 0
    unanswerable: int = 0
    turns: int = 0
    judgments: int = 0
    seed: int = 0

    @classmethod
    def at_most(cls, limit: int | None, seed: int) -> Self:
        """`limit` items of each kind, a quarter of the questions unanswerable; all of them for None."""
        return cls(limit, limit // 4, limit, limit, seed) if limit else cls(seed=seed)


def read_tests(data: DataFolder, sizes: Sizes, split: str = "test", roles: Sequence[Role] = tuple(Role)) -> TestSet:
    """The test items that `roles` are measured on. Raises DataError for a missing or broken file."""
    questions = data.questions(split) if {Role.SYNTHESIZER, Role.EMBEDDER} & set(roles) else ()
    turns = data.rewrites(split) if Role.REWRITER in roles else ()
    judgments = data.judgments(split) if Role.JUDGE in roles else ()
    chosen_turns = _draw([row for row in turns if row.history], sizes.turns, sizes.seed)
    return TestSet(
        chain=(
            *_questions(questions, sizes, Role.SYNTHESIZER in roles),
            *(_turn(row) for row in chosen_turns if row.passage_ids),
        ),
        rewrites=tuple(
            RewriteItem(
                Query(row.question, row.history),
                GoldRewrite(row.id, row.question, row.rewrites or (row.rewrite,), row.conversation or row.id),
            )
            for row in chosen_turns
        ),
        judgments=_judgments(judgments, data, sizes),
    )


def _draw(rows: Sequence[T], limit: int, seed: int) -> list[T]:
    """`limit` rows at random, in file order; all of them for 0."""
    if not limit or len(rows) <= limit:
        return list(rows)
    return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), limit))]


def _questions(rows: Sequence[QuestionRow], sizes: Sizes, answered: bool) -> list[ChainItem]:
    refused = _draw([row for row in rows if not row.answerable], sizes.unanswerable, sizes.seed)
    wanted = max(0, sizes.questions - len(refused)) if sizes.questions else 0
    asked = {row.id for row in (*refused, *_draw([row for row in rows if row.answerable], wanted, sizes.seed))}
    return [_question(row, answered and row.id in asked) for row in rows if row.answerable or row.id in asked]


def _question(row: QuestionRow, answered: bool) -> ChainItem:
    near = row.passage_ids or row.near_ids
    gold = GoldAnswer(
        row.id,
        row.answers,
        row.answerable,
        row.passage_ids if row.answerable else (),
        row.quotes,
        _document(near) or row.group or row.id,
    )
    return ChainItem(Query(row.standalone or row.question), gold, answered=answered)


def _turn(row: RewriteRow) -> ChainItem:
    """A turn counts for retrieval only: its gold answer is a whole sentence, which EM and F1 of short answers do not fit."""
    gold = GoldAnswer(row.id, row.answers, True, row.passage_ids, row.quotes, row.conversation or row.id)
    return ChainItem(Query(row.question, row.history), gold, row.rewrite, answered=False)


def _judgments(rows: Sequence[JudgeRow], data: DataFolder, sizes: Sizes) -> tuple[JudgeItem, ...]:
    schemas = judge_schemas(data.intents)
    found: list[JudgeItem] = []
    for task in dict.fromkeys(row.task for row in rows):
        for row in _draw([row for row in rows if row.task == task], sizes.judgments, sizes.seed):
            group = _document(row.passage_ids) or row.id
            found.append(JudgeItem(row.id, schemas[task], row.inputs, row.label, group))
    return tuple(found)


def _document(passage_ids: Sequence[str]) -> str:
    """The document of the first passage: questions about one document are not independent."""
    return passage_ids[0].partition("#")[0] if passage_ids else ""
