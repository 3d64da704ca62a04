"""Makes the invented items that adapters are measured on (`lorag.training.transfer.invented`), by a seed.

python -m benchmarks.starter_training.items
"""

from __future__ import annotations

import random

from benchmarks.starter_training import invented
from benchmarks.starter_training.conversations import follow_up
from lorag.pipeline.contracts.judge import ANSWERABILITY, SUPPORT
from lorag.pipeline.storage.strict_json import dump_json
from lorag.training.transfer.invented import FILE, Asked, Conversation, Document, Invented, JudgedDocument, Judgment

COUNT = 100
"""Items of a task."""


def make_items(count: int = COUNT, seed: int = 7) -> Invented:
    """About `count` items of each task. Fewer items are the first of more."""
    return Invented(
        documents=tuple(_documents(count, random.Random(f"measured {seed}"))),
        conversations=tuple(_conversations(count, random.Random(f"measured turns {seed}"))),
        judged=tuple(judged_documents(count, seed)),
    )


def _documents(count: int, rng: random.Random) -> list[Document]:
    found: list[Document] = []
    while sum(len(document.asked) for document in found) < count:
        sheet = invented.sheet(rng)
        drawn = rng.sample(sheet.asked, min(3, len(sheet.asked)))
        found.append(Document(sheet.passages, tuple(Asked(one.question, one.number, one.reply) for one in drawn)))
    return found


def _conversations(count: int, rng: random.Random) -> list[Conversation]:
    return [follow_up(rng) for _ in range(count)]


def judged_documents(count: int, seed: int) -> list[JudgedDocument]:
    """Documents with at least `count` judgments of each task."""
    rng = random.Random(f"measured judgments {seed}")
    found: list[JudgedDocument] = []
    counts = {ANSWERABILITY.task: 0, SUPPORT.task: 0}
    while min(counts.values()) < count:
        id_ = f"judged-{len(found)}"
        sheet = invented.sheet(rng, refused=0.5)
        found.append(JudgedDocument(id_, sheet.passages, tuple(_judgments(id_, sheet, rng))))
        for each in found[-1].judgments:
            counts[each.task] += 1
    return found


def _judgments(id_: str, sheet: invented.Sheet, rng: random.Random) -> list[Judgment]:
    """One question that the sheet answers and one that it does not; one right and one wrong answer."""
    answerable = [asked for asked in sheet.asked if asked.number]
    missing = [asked for asked in sheet.asked if not asked.number]
    asked = rng.choice(answerable)
    judged = [(ANSWERABILITY, asked.question, "", "answerable"), (SUPPORT, asked.question, asked.reply, "supported")]
    if missing:
        judged.append((ANSWERABILITY, rng.choice(missing).question, "", "unanswerable"))
    if wrong := [other.reply for other in answerable if other.reply not in asked.reply and asked.reply not in other.reply]:
        judged.append((SUPPORT, asked.question, rng.choice(wrong), "unsupported"))
    return [
        Judgment(f"{id_}-{n}", schema.task, question, answer, label) for n, (schema, question, answer, label) in enumerate(judged)
    ]


if __name__ == "__main__":
    FILE.write_text(dump_json(make_items(), str(FILE)), encoding="utf-8")
