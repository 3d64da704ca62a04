"""Rows of a role → the examples its adapter is trained on, through the role's contract. Pure: no model, no file.

The synthesizer's examples show what serving shows: the passages that it retrieves for the question, gold ones among
distractors. Some show no gold ones, so that the model learns to refuse if the passages hold no answer.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from lorag.pipeline.contracts import embed, judge, rewrite, synthesize
from lorag.pipeline.contracts.judge import LabelSchema
from lorag.pipeline.errors import DataError
from lorag.training.data.rows import INTENT, JudgeRow, PassageRow, QuestionRow, RewriteRow
from lorag.training.passage_search import PassageFinder
from lorag.training.sft import Example


def rewrite_examples(rows: Sequence[RewriteRow]) -> list[Example]:
    """One example a turn with history. Serving never sends a turn without history to the rewriter."""
    return [
        Example(row.id, rewrite.messages(row.history, row.question), rewrite.target(row.rewrite))
        for row in rows
        if row.history and row.question.strip()
    ]


def judge_examples(rows: Sequence[JudgeRow], schemas: Mapping[str, LabelSchema]) -> list[Example]:
    """One example a judgment. Raises DataError for a task without a schema."""
    examples = []
    for row in rows:
        if row.task not in schemas:
            raise DataError(f"row {row.id!r}: no schema for judge task {row.task!r}; known: {', '.join(schemas)}")
        schema = schemas[row.task]
        examples.append(Example(row.id, judge.messages(schema, row.inputs), judge.target(schema, row.label)))
    return examples


def support_examples(
    rows: Sequence[QuestionRow], passages: Mapping[str, PassageRow], *, limit: int, seed: int = 0
) -> list[Example]:
    """Support judgments made of answered questions, at most `limit`, so that the judge also sees short answers to questions.

    A row's own answer is `supported` by its gold passages. The answer of another row of the same group is `unsupported` if none
    of its alternatives occurs in them. Half and half, drawn with `seed`.
    """
    rng = random.Random(seed)
    usable = [row for row in rows if row.answerable and row.passage_ids and all(p in passages for p in row.passage_ids)]
    examples: list[Example] = []
    for row in rng.sample(usable, min(len(usable), limit)):
        shown = tuple(passages[p].shown() for p in row.passage_ids)
        text = " ".join(p.text for p in shown).casefold()
        others = [o for o in usable if o.group == row.group and not any(a.casefold() in text for a in o.answers)]
        label, answer = "supported", row.answers[0]
        if len(examples) % 2 and others:
            label, answer = "unsupported", rng.choice(others).answers[0]
        inputs = judge.JudgeInputs(question=row.question, answer=answer, passages=shown)
        examples.append(Example(f"{row.id}-{label}", judge.messages(judge.SUPPORT, inputs), judge.target(judge.SUPPORT, label)))
    return examples


def mix(rows: Sequence[JudgeRow], mixture: Mapping[str, float], seed: int = 0) -> list[JudgeRow]:
    """The rows of one epoch: each task's rows as often as `mixture` says, by default once; a fraction is sampled.

    Tasks with short rows and many labels need more repeats than their share of the file, since tasks with long rows crowd them
    out. Repeated rows get ids of their own. Raises DataError for a name that is no judge task; a task may have no rows.
    """
    rng = random.Random(seed)
    tasks = dict.fromkeys(row.task for row in rows)
    known = dict.fromkeys([*judge.BUILT_IN, INTENT, *tasks])
    unknown = [task for task in mixture if task not in known]
    if unknown:
        raise DataError(f"recipe data.mixture: {unknown[0]!r} is no judge task; there are: {', '.join(known)}")
    mixed: list[JudgeRow] = []
    for task in tasks:
        own = [row for row in rows if row.task == task]
        whole, part = divmod(mixture.get(task, 1.0), 1.0)
        for showing in range(int(whole)):
            mixed += own if showing == 0 else [replace(row, id=f"{row.id}-{showing + 1}") for row in own]
        mixed += [replace(row, id=f"{row.id}-part") for row in rng.sample(own, round(part * len(own)))]
    return mixed


def synthesize_examples(
    rows: Sequence[QuestionRow],
    passages: Mapping[str, PassageRow],
    rankings: Mapping[str, Sequence[str]],
    *,
    k: int,
    missing_gold: float,
    shuffled: float,
    seed: int = 0,
) -> list[Example]:
    """One example a question, with `k` passages; `rankings` are those of `rank_for`.

    A gold passage that retrieval missed replaces the last distractor. A passage that answers the question by another row is never
    a distractor. Raises DataError for a gold passage that is not among `passages`.
    """
    rng, hidden, gold = random.Random(seed), hidden_rows(rows, missing_gold, seed), gold_passages(rows)
    examples = []
    for row in rows:
        unknown = [p for p in row.passage_ids if p not in passages]
        if unknown:
            raise DataError(f"row {row.id!r}: passage {unknown[0]!r} is not in passages.jsonl; make both from the same documents")
        hide = row.id in hidden
        shown = shown_passages(row, rankings[row.id], k, gold[search_text(row)], hide)
        if rng.random() < shuffled:
            rng.shuffle(shown)
        numbers = [shown.index(p) + 1 for p in row.passage_ids if p in shown] if row.answerable and not hide else []
        messages = synthesize.messages(row.standalone or row.question, [as_shown(row, passages[p]).shown() for p in shown])
        answer = row.answers[0] if numbers else ""
        examples.append(Example(row.id, messages, synthesize.target(answer, numbers)))
    return examples


def as_shown(row: QuestionRow, passage: PassageRow) -> PassageRow:
    """The passage as this question shows it: without the row's `removed` parts."""
    if not row.removed:
        return passage
    text = passage.text
    for part in row.removed:
        text = text.replace(part, "")
    return replace(passage, text=text.strip())


def _shows_gold(row: QuestionRow) -> bool:
    """Whether the row's own passages are shown: if they hold the answer, or if it is cut out of them."""
    return row.answerable or bool(row.removed)


def search_text(row: QuestionRow) -> str:
    """The question as it is searched for."""
    return embed.query_text(row.standalone or row.question)


def hidden_rows(rows: Sequence[QuestionRow], share: float, seed: int = 0) -> frozenset[str]:
    """The ids of a random `share` of the answerable rows, which are shown without their gold passages."""
    rng = random.Random(f"hidden {seed}")
    return frozenset(row.id for row in rows if row.answerable and rng.random() < share)


def gold_passages(rows: Sequence[QuestionRow]) -> dict[str, frozenset[str]]:
    """Each question as it is searched for → the passages of all rows with that question."""
    found: dict[str, frozenset[str]] = {}
    for row in rows:
        found[search_text(row)] = found.get(search_text(row), frozenset()) | frozenset(row.passage_ids)
    return found


def rank_for(
    rows: Sequence[QuestionRow], finder: PassageFinder, k: int, *, training: bool, missing_gold: float = 0.0, seed: int = 0
) -> dict[str, list[str]]:
    """Row id → the passages that serving would show for its question, best first, in the order it finds them.

    There are `k`, and one more for each passage that `shown_passages` removes.
    """
    hidden, gold = hidden_rows(rows, missing_gold, seed), gold_passages(rows)
    by_depth: dict[int, list[QuestionRow]] = {}
    for row in rows:
        own_gold = row.passage_ids if _shows_gold(row) and row.id not in hidden else ()
        by_depth.setdefault(k + len(gold[search_text(row)].difference(own_gold)), []).append(row)
    found: dict[str, list[str]] = {}
    for depth, part in by_depth.items():
        rankings = finder.find([row.standalone or row.question for row in part], depth, training=training)
        found |= {row.id: ranking for row, ranking in zip(part, rankings, strict=True)}
    return found


def shown_passages(row: QuestionRow, ranking: Sequence[str], k: int, gold: Collection[str] = (), hide: bool = False) -> list[str]:
    """The passage ids of one example in retrieval order: the row's own unless they are hidden, and distractors.

    No distractor is in `gold`, the passages that answer the question too.
    """
    taken = {*gold, *row.passage_ids}
    if not _shows_gold(row) or hide:
        return [p for p in ranking if p not in taken][:k]
    order = {p: place for place, p in enumerate(ranking)}
    others = [p for p in ranking if p not in taken][: max(0, k - len(set(row.passage_ids)))]
    wanted = [*list(row.passage_ids)[:k], *others]
    return sorted(dict.fromkeys(wanted), key=lambda p: order.get(p, len(order)))
