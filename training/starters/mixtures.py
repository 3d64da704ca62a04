"""What each starter learns from: which sets, how often, how many invented rows. Sets → examples, drawn with a seed."""

from __future__ import annotations

import random
from pathlib import Path

from pipeline.contracts import synthesize
from training.sft import Example
from training.starters import grounded, invented
from training.starters.sources import Corpus, Split, read_corpus

ROUNDS = {"squad_newwiki": 2, "squad_reddit": 1, "qed_nq": 1, "pubmedqa": 1, "pacific_finance": 1, "medquad": 1}
"""How often the synthesizer sees each passage of a set, among other passages each time."""

BY_TITLE = ("squad_newwiki", "qed_nq", "medquad")
"""Sets whose passages of one title are one article."""

MEDQUAD_PASSAGES = 500
"""Its answers are sentences; a few of them keep long answers in reach without crowding out the short ones."""

SHEETS = 800
"""Invented contexts of the synthesizer."""

ANSWERS = {"pubmedqa": grounded.decide, "medquad": grounded.first_sentence}


def corpus(data: Path, name: str, split: Split) -> Corpus:
    """One split of a reading set."""
    return read_corpus(data, name, split, by_title=name in BY_TITLE)


def synthesizer_examples(data: Path, split: Split, seed: int) -> list[Example]:
    """The synthesizer's examples of `split`; those of the other splits see each passage once."""
    rng = random.Random(seed)
    made = []
    for name, rounds in ROUNDS.items():
        whole = corpus(data, name, split)
        if name == "medquad":
            whole = _some(whole, MEDQUAD_PASSAGES if split == "train" else MEDQUAD_PASSAGES // 10, rng)
        answer = ANSWERS.get(name, grounded.extract)
        made += grounded.examples(grounded.contexts(whole, answer, rounds if split == "train" else 1, rng))
    return made + sheet_examples(SHEETS if split == "train" else SHEETS // 10, rng, split)


def sheet_examples(count: int, rng: random.Random, name: str) -> list[Example]:
    """Examples on invented documents."""
    made = []
    for number in range(count):
        sheet = invented.sheet(rng)
        for place, asked in enumerate(sheet.asked):
            target = synthesize.target(asked.reply, [asked.number] if asked.number else [])
            made.append(Example(f"sheet-{name}-{number}-{place}", synthesize.messages(asked.question, sheet.passages), target))
    return made


def _some(whole: Corpus, count: int, rng: random.Random) -> Corpus:
    """`count` passages that have a question, and those questions."""
    asked = sorted({question.passage_id for question in whole.questions})
    kept = set(rng.sample(asked, min(count, len(asked))))
    passages = {id_: passage for id_, passage in whole.passages.items() if id_ in kept}
    return Corpus(whole.name, passages, tuple(q for q in whole.questions if q.passage_id in kept))
