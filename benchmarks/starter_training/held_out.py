"""Test items of starters: items of the held-out split of the public sets, drawn with a seed. Pure: no model.

Grounded questions come with their passage among four, in random order; the others are of the same article, if there are any.
Questions without their passage are shown four of which none holds an answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.starter_training.replies import reply_of
from benchmarks.starter_training.sources import (
    Corpus,
    SourcePassage,
    SourceQuestion,
    Split,
    corpus,
    history_of,
    read_rows,
    read_turns,
)
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import ANSWERABILITY, RELEVANCE, SUPPORT, JudgeInputs, LabelSchema, intent_schema
from lorag.pipeline.evaluation.ablation import JudgeItem, RewriteItem
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.rewrites import GoldRewrite
from lorag.pipeline.records import Hit, Passage, Query, Role
from lorag.training.transfer.held_out import SHOWN, GroundedItem
from lorag.training.transfer.measuring import Task

READING = ("squad_newwiki", "squad_reddit", "qed_nq", "pubmedqa")
REWRITING = ("rewrite_canard", "rewrite_cast", "rewrite_ikat23")

REFUSED = 0.3
"""Share of the questions whose passage is not shown."""


def grounded_items(data: Path, name: str, count: int, seed: int = 0) -> list[GroundedItem]:
    """Questions of the held-out articles of a reading set, `REFUSED` of them without their passage."""
    whole = corpus(data, name, "test")
    rng = random.Random(f"{name} {seed}")
    answer = reply_of(name)
    usable = [q for q in whole.questions if answer(q, whole.passages[q.passage_id].text)]
    drawn = rng.sample(usable, min(count, len(usable)))
    return [_grounded(whole, q, n >= round(len(drawn) * (1 - REFUSED)), name == "pubmedqa", rng) for n, q in enumerate(drawn)]


def _grounded(whole: Corpus, question: SourceQuestion, hidden: bool, labelled: bool, rng: random.Random) -> GroundedItem:
    gold = whole.passages[question.passage_id]
    answers = (question.label,) if labelled else question.answers
    near = [p for p in whole.passages.values() if p.article == gold.article and p.id != gold.id]
    rest = [p for p in whole.passages.values() if p.article != gold.article]
    others = rng.sample(near, min(len(near), 2 * SHOWN)) + rng.sample(rest, min(len(rest), 2 * SHOWN))
    if hidden and not labelled:
        others = [p for p in others if not any(a.casefold() in p.text.casefold() for a in answers)]
    shown = others[:SHOWN] if hidden else [gold, *others[: SHOWN - 1]]
    rng.shuffle(shown)
    key = GoldAnswer(question.id, () if hidden else answers, not hidden, () if hidden else (gold.id,), group=gold.article)
    return GroundedItem(key, question.question, tuple(_hit(passage) for passage in shown))


def _hit(passage: SourcePassage) -> Hit:
    return Hit(Passage(passage.id, passage.id, passage.id, passage.title, "", passage.text, 0, len(passage.text)), 0.0)


def turn_items(data: Path, name: str, count: int, seed: int = 0) -> list[RewriteItem]:
    """Turns of the held-out conversations of a rewriting set."""
    turns = [turn for turn in read_turns(data, name, "test") if turn.question.strip()]
    drawn = random.Random(f"{name} {seed}").sample(turns, min(count, len(turns)))
    return [
        RewriteItem(Query(t.question, history_of(t)), GoldRewrite(t.id, t.question, t.rewrites, t.conversation)) for t in drawn
    ]


def judge_items(data: Path, count: int, seed: int = 0, split: Split = "test") -> dict[str, list[JudgeItem]]:
    """Task → items of the held-out split, about `count` each, with labels as balanced as possible.

    Those of another `split` are for a rule that needs rows to fit itself to; unseen intents are the same in each.
    """
    rng = random.Random(f"judge {seed}")
    found: dict[str, list[JudgeItem]] = {schema.task: [] for schema in (RELEVANCE, ANSWERABILITY, SUPPORT)}
    for name in ("squad_newwiki", "squad_reddit"):
        whole = corpus(data, name, split)
        for question in rng.sample(whole.questions, min(count, len(whole.questions))):
            for item in _judged(whole, question, rng):
                found[item.schema.task].append(item)
    drawn = {task: rng.sample(items, min(count, len(items))) for task, items in found.items()}
    return {**drawn, "intent (hwu64)": _unseen_intents(data, count, rng)}


def _judged(whole: Corpus, question: SourceQuestion, rng: random.Random) -> list[JudgeItem]:
    """A graded passage, an answerable or unanswerable question, and a right, half right or wrong answer."""
    gold = whole.passages[question.passage_id]
    text = gold.text.casefold()

    def lacking(passages: Sequence[SourcePassage]) -> list[SourcePassage]:
        return [p for p in passages if p.id != gold.id and not any(a.casefold() in p.text.casefold() for a in question.answers)]

    near = lacking([p for p in whole.passages.values() if p.article == gold.article])
    far = lacking([p for p in whole.passages.values() if p.article != gold.article])
    others = [q for q in whole.questions if q.passage_id != gold.id and not any(a.casefold() in text for a in q.answers)]
    other = rng.choice(others)
    items = []

    def add(schema: LabelSchema, asked: str, answer: str, passages: Sequence[SourcePassage], label: str) -> None:
        shown = tuple(PassageText(p.title, p.text) for p in passages)
        id_ = f"{question.id}-{schema.task}"
        items.append(JudgeItem(id_, schema, JudgeInputs(question=asked, answer=answer, passages=shown), label, gold.article))

    degree = rng.choice(("0", "1", "2", "3") if near else ("0", "3"))
    passage = {"0": far, "1": near}.get(degree, [gold])
    asked = joined(question.question, other.question) if degree == "2" else question.question
    add(RELEVANCE, asked, "", [rng.choice(passage)], degree)
    with_gold = rng.random() < 0.5
    distractors = rng.sample(near, min(len(near), 2)) or rng.sample(far, 2)
    shown = [*distractors, gold] if with_gold else [*distractors, rng.choice(far)]
    add(ANSWERABILITY, question.question, "", rng.sample(shown, len(shown)), "answerable" if with_gold else "unanswerable")
    label = rng.choice(tuple(SUPPORT.labels))
    right, wrong = question.answers[0], other.answers[0]
    answer = {"supported": right, "unsupported": wrong}.get(label, f"{right} and {wrong}")
    asked = joined(question.question, other.question) if label == "partly" else question.question
    add(SUPPORT, asked, answer, [gold], label)
    return items


def joined(first: str, second: str) -> str:
    """Two questions as one."""
    return f"{first.rstrip('?. ')}, and {second[:1].lower()}{second[1:]}"


def _unseen_intents(data: Path, count: int, rng: random.Random) -> list[JudgeItem]:
    """Intents of a set that training never saw, 16 labels in each prompt, their own words as meanings."""
    rows = list(read_rows(data, "intent_hwu64.test"))
    labels = sorted({row["label"] for row in rows})
    items = []
    for row in rng.sample(rows, min(count, len(rows))):
        chosen = rng.sample([label for label in labels if label != row["label"]], 15)
        order = rng.sample([*chosen, row["label"]], 16)
        meanings: Mapping[str, str] = {label: label.replace("_", " ") for label in order}
        items.append(JudgeItem(row["id"], intent_schema(meanings), JudgeInputs(message=row["text"]), row["label"], row["id"]))
    return items


def public_tasks(role: Role, data: Path, count: int) -> list[Task]:
    """The tasks of a role on the public sets in `data`, about `count` items each. Raises DataError if a set is missing."""
    if role is Role.SYNTHESIZER:
        return [Task(name, answered=tuple(grounded_items(data, name, count))) for name in READING]
    if role is Role.REWRITER:
        return [Task(name, rewritten=tuple(turn_items(data, name, count))) for name in REWRITING]
    return [Task(name, judged=tuple(items)) for name, items in judge_items(data, count).items()]
