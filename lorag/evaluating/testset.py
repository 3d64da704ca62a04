"""The held-out split of a data folder → the test set of an evaluation. Reads files and calls no model."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.ablation import ChainItem, JudgeItem, RewriteItem, TestSet
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.rewrites import GoldRewrite
from lorag.pipeline.records import Query, Role
from lorag.training.data.formats.splitting import groups
from lorag.training.data.rows import JudgeRow, QuestionRow, RewriteRow, document_of
from lorag.training.dataset import DataFolder, judge_schemas

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sizes:
    """The number of items that the model answers (None: all). Retrieval is always measured on every question.

    `unanswerable` are part of `questions`. `judgments` is per judge task. All turns of `conversations` are answered too: none
    unless asked for, since each takes as long as a question.
    """

    questions: int | None = None
    unanswerable: int | None = None
    turns: int | None = None
    judgments: int | None = None
    seed: int = 0
    conversations: int | None = 0

    @classmethod
    def at_most(cls, limit: int | None, seed: int, conversations: int | None = 0) -> Self:
        """`limit` items of each kind, with a quarter of the questions unanswerable. All of them for None."""
        if limit is None:
            return cls(seed=seed, conversations=conversations)
        return cls(limit, limit // 4, limit, limit, seed, conversations)


def read_tests(data: DataFolder, sizes: Sizes, split: str = "test", roles: Sequence[Role] = tuple(Role)) -> TestSet:
    """The test items that `roles` are measured on.

    Raises DataError for a missing or broken file, and if a question and a turn have the same id: scores are stored by id.
    """
    questions = data.questions(split) if {Role.SYNTHESIZER, Role.EMBEDDER} & set(roles) else ()
    turns = data.rewrites(split) if Role.REWRITER in roles else ()
    judgments = data.judgments(split) if Role.JUDGE in roles else ()
    chosen_turns = _draw([row for row in turns if row.history], sizes.turns, sizes.seed)
    answered = _answered_turns(turns, sizes) if Role.SYNTHESIZER in roles else set[str]()
    rewritten = {row.id for row in chosen_turns if row.passage_ids}
    return TestSet(
        chain=_chain(
            questions,
            [row for row in turns if row.id in rewritten | answered],
            sizes,
            Role.SYNTHESIZER in roles,
            answered,
        ),
        rewrites=tuple(
            RewriteItem(
                Query(row.question, row.history),
                GoldRewrite(row.id, row.question, row.gold, row.conversation or row.group or row.id),
            )
            for row in chosen_turns
        ),
        judgments=_judgments(judgments, data, sizes),
    )


def read_examples(data: DataFolder) -> tuple[JudgeItem, ...]:
    """The judge's training rows, from which its floors choose; empty if there are none."""
    return _judgments(data.judgments("train"), data, Sizes()) if data.has("train", Role.JUDGE) else ()


def rows_of(role: Role) -> Role:
    """The role whose test rows a role is measured on."""
    return Role.SYNTHESIZER if role is Role.EMBEDDER else role


def roles_tested(tests: TestSet) -> frozenset[Role]:
    """The roles that have test items."""
    items = {
        Role.REWRITER: bool(tests.rewrites),
        Role.EMBEDDER: any(item.gold.passage_ids for item in tests.chain),
        Role.SYNTHESIZER: any(item.answered for item in tests.chain),
        Role.JUDGE: bool(tests.judgments),
    }
    return frozenset(role for role, has_items in items.items() if has_items)


def _draw(rows: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """`limit` random rows in file order. All of them for None."""
    if limit is None or len(rows) <= limit:
        return list(rows)
    return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), limit))]


def _chain(
    questions: Sequence[QuestionRow],
    turns: Sequence[RewriteRow],
    sizes: Sizes,
    answered: bool,
    answered_turns: Collection[str],
) -> tuple[ChainItem, ...]:
    """Questions, then turns, all in one clustering: a turn and a question about one document are not independent."""
    answered_ids = _answered_ids(questions, sizes)
    chosen = [row for row in questions if row.answerable or row.id in answered_ids]
    _require_distinct(chosen, turns)
    keys = [*map(_question_keys, chosen), *map(_turn_keys, turns)]
    clusters = [keys[first][0] for first in groups(keys)]
    return (
        *(_question(row, cluster, answered and row.id in answered_ids) for row, cluster in zip(chosen, clusters, strict=False)),
        *(_turn(row, cluster, row.id in answered_turns) for row, cluster in zip(turns, clusters[len(chosen) :], strict=True)),
    )


def _answered_turns(rows: Sequence[RewriteRow], sizes: Sizes) -> set[str]:
    """The ids of all turns of the conversations that are answered whole. A conversation with a turn that has no gold answer is
    none of them."""
    turns: dict[str, list[RewriteRow]] = {}
    for row in rows:
        if row.conversation:
            turns.setdefault(row.conversation, []).append(row)
    whole = [each for each in turns.values() if all((row.answers and row.passage_ids) or row.answerable is False for row in each)]
    return {row.id for each in _draw(whole, sizes.conversations, sizes.seed) for row in each}


def _answered_ids(rows: Sequence[QuestionRow], sizes: Sizes) -> set[str]:
    """The ids of the questions that the synthesizer answers."""
    refused = _draw([row for row in rows if not row.answerable], sizes.unanswerable, sizes.seed)
    wanted = None if sizes.questions is None else max(0, sizes.questions - len(refused))
    return {row.id for row in (*refused, *_draw([row for row in rows if row.answerable], wanted, sizes.seed))}


def _require_distinct(questions: Sequence[QuestionRow], turns: Sequence[RewriteRow]) -> None:
    if both := {row.id for row in questions} & {row.id for row in turns}:
        raise DataError(f"id {min(both)!r} is that of a question and of a conversation turn in the test rows; ids must differ")


def _question_keys(row: QuestionRow) -> list[str]:
    """Cluster keys of a question; items that share a key are dependent, and the first names the cluster.

    They are the gold documents, or if there are none the document of its first near passage, and the question's group.
    """
    near = row.passage_ids or row.near_ids[:1]
    return [*map(document_of, near), *filter(None, (row.group,))] or [row.id]


def _turn_keys(row: RewriteRow) -> list[str]:
    return [*filter(None, (row.conversation, row.group)), *map(document_of, row.passage_ids)]


def _question(row: QuestionRow, cluster: str, answered: bool) -> ChainItem:
    """An item for the synthesizer: with the standalone question if there is one, else with the history for the rewriter."""
    query = Query(row.standalone) if row.standalone else Query(row.question, row.history)
    gold = GoldAnswer(row.id, row.answers, row.answerable, row.passage_ids if row.answerable else (), row.quotes, cluster)
    return ChainItem(query, gold, answered=answered)


def _turn(row: RewriteRow, cluster: str, answered: bool) -> ChainItem:
    """A turn, which counts for retrieval alone unless its conversation is answered. Its gold answer is a sentence."""
    answerable = row.answerable is not False or not answered
    gold = GoldAnswer(row.id, row.answers, answerable, row.passage_ids if answerable else (), row.quotes, cluster, sentence=True)
    return ChainItem(Query(row.question, row.history), gold, row.rewrite, answered, row.conversation)


def _judgments(rows: Sequence[JudgeRow], data: DataFolder, sizes: Sizes) -> tuple[JudgeItem, ...]:
    schemas = judge_schemas(data.intents)
    found: list[JudgeItem] = []
    for task in dict.fromkeys(row.task for row in rows):
        for row in _draw([row for row in rows if row.task == task], sizes.judgments, sizes.seed):
            found.append(JudgeItem(row.id, schemas[task], row.inputs, row.label, _judgment_cluster(row)))
    return tuple(found)


def _judgment_cluster(row: JudgeRow) -> str:
    """The cluster of a judgment: its group, or else the document of its first passage."""
    return row.group or next(map(document_of, row.passage_ids), row.id)
