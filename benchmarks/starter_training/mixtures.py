"""The training mixture of each starter: which sets, how often, how many invented rows. Sets → examples, by a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from benchmarks.starter_training import grounded, invented, judgments, questions, rewriting
from benchmarks.starter_training.grounded import Context
from benchmarks.starter_training.replies import extract, reply_of
from benchmarks.starter_training.sets import read_labels
from benchmarks.starter_training.sources import Corpus, SourceQuestion, SourceTurn, Split, corpus, read_turns
from lorag.pipeline.contracts import synthesize
from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.records import Role
from lorag.training.sft import Example

ROUNDS = {"squad_newwiki": 1, "squad_reddit": 1, "qed_nq": 1, "pubmedqa": 1, "pacific_finance": 1, "medquad": 1}
"""How often the synthesizer sees each passage of a set, among other passages each time."""

MEDQUAD_PASSAGES = 500
"""Passages of MedQuAD, whose answers are sentences: enough to learn long answers without crowding out the short ones."""

SHEETS = 500
"""Number of invented contexts of the synthesizer."""

TURNS = {
    "rewrite_canard": 2.0,
    "rewrite_cast": 2.0,
    "rewrite_ikat23": 2.0,
    "rewrite_gecor": 0.5,
    "rewrite_alexa_cqr": 1.0,
    "rewrite_pacific": 0.5,
}
"""How often the rewriter sees each turn of a set; 0.5 means a random half of the turns."""

STANDALONE = {"rewrite_canard": 800, "rewrite_cast": 250, "rewrite_ikat23": 100, "rewrite_pacific": 250}
"""Number of standalone questions after a conversation."""

FOLLOW_UPS = 2000
"""Number of invented rewriting."""

JUDGED = {"squad_newwiki": 0.6, "squad_reddit": 0.25}
"""Share of a set's contexts that the judge sees."""

JUDGED_SIZES = {1: 5, 2: 3, 3: 1, 4: 1}
"""Passages in a context of the judge → its relative frequency."""

RELEVANCE_SHARE = 0.7
"""Share of the contexts whose first passage is also graded by itself."""

JUDGED_SHEETS = 110
INTENTS = 1600
"""Number of texts of clinc150, each with its own schema."""

INTENT_SET = "intent_clinc150"

ASKED = {"squad_newwiki": 1.0, "squad_reddit": 0.45, "pacific_finance": 1.0, "medquad": 0.04, "qed_nq": 1.0}
"""Share of a set's passages that the questioner sees."""

TERSE_SETS = ("qed_nq",)
"""Sets whose questions were typed into a search engine."""

ASKED_SHEETS = 180

REHEARSED = 0.08
"""Share of the questioner's public examples that it sees again beside those written for working papers."""

SAID = {"rewrite_canard": 600, "rewrite_cast": 300, "rewrite_ikat23": 150, "rewrite_gecor": 250, "rewrite_alexa_cqr": 100}
"""Number of turns of a set that the questioner learns to say."""

SETS: Mapping[Role, tuple[str, ...]] = {
    Role.SYNTHESIZER: tuple(ROUNDS),
    Role.REWRITER: tuple(TURNS),
    Role.JUDGE: (*JUDGED, INTENT_SET),
    Role.QUESTIONER: (*ASKED, *SAID),
}
"""The public sets that each role learns from."""


def synthesizer_examples(data: Path, split: Split, seed: int) -> list[Example]:
    """The synthesizer's examples of `split`; those of the other splits see each passage once."""
    rng = random.Random(seed)
    made = []
    for name, rounds in ROUNDS.items():
        whole = corpus(data, name, split)
        if name == "medquad":
            whole = _sample(whole, MEDQUAD_PASSAGES if split == "train" else MEDQUAD_PASSAGES // 10, rng)
        answer = reply_of(name)
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


def rewriter_examples(data: Path, split: Split, seed: int) -> list[Example]:
    """The rewriter's examples of `split`; in other splits every turn once."""
    rng = random.Random(seed)
    made: list[Example] = []
    for name, share in TURNS.items():
        turns = read_turns(data, name, split)
        if name == "rewrite_pacific":
            turns = _without_shared(turns, data, split)
        whole, part = divmod(share if split == "train" else 1.0, 1.0)
        for showing in range(int(whole)):
            made += [replace(one, id=f"{one.id}~{showing}") for one in rewriting.turn_examples(turns)]
        made += rewriting.turn_examples(rng.sample(turns, round(part * len(turns))))
        alone = STANDALONE.get(name, 0)
        made += rewriting.standalone_examples(turns, alone if split == "train" else alone // 5, rng)
    return made + rewriting.follow_up_examples(FOLLOW_UPS if split == "train" else FOLLOW_UPS // 10, rng)


def _without_shared(turns: Sequence[SourceTurn], data: Path, split: Split) -> tuple[SourceTurn, ...]:
    """PACIFIC's turns without conversations whose questions are in another split of its reading set: both have one source."""
    sides: tuple[Split, ...] = ("train", "dev", "test")
    elsewhere = {
        question.question.casefold()
        for side in sides
        if side != split
        for question in corpus(data, "pacific_finance", side).questions
    }
    mixed = {turn.conversation for turn in turns if {turn.question.casefold(), turn.rewrites[0].casefold()} & elsewhere}
    return tuple(turn for turn in turns if turn.conversation not in mixed)


def questioner_examples(data: Path, split: Split, seed: int, *, without: Sequence[str] = ()) -> list[Example]:
    """The questioner's examples of `split`, none of them of the sets in `without`.

    A set that is to test rows made from its documents must not have taught the questioner (leave one set out). What is
    drawn of the other sets stays the same.
    """
    made: list[Example] = []
    for name, share in ASKED.items():
        if name not in without:
            manner = Manner.TERSE if name in TERSE_SETS else Manner.FULL
            made += questions.reading_examples(corpus(data, name, split), manner, random.Random(f"{name} {seed}"), share=share)
    sheets = ASKED_SHEETS if split == "train" else ASKED_SHEETS // 10
    made += questions.sheet_examples(sheets, random.Random(f"sheets {seed}"), split)
    for name, count in SAID.items():
        if name not in without:
            turns = read_turns(data, name, split)
            wanted = count if split == "train" else count // 10
            made += questions.follow_up_examples(turns, wanted, random.Random(f"{name} {seed}"))
    return made


def practised_examples(data: Path, split: Split, seed: int, *, without: Sequence[str] = ()) -> list[Example]:
    """What a questioner learns last: questions written for working papers, and `REHEARSED` of what it learnt before."""
    before = questioner_examples(data, split, seed, without=without)
    rng = random.Random(f"rehearsed {seed}")
    return questions.written_examples(split) + rng.sample(before, round(REHEARSED * len(before)))


def judge_examples(data: Path, split: Split, seed: int) -> list[Example]:
    """The judge's examples of `split`: relevance, answerability, support and intents."""
    rng = random.Random(seed)
    made: list[Example] = []
    for name, share in JUDGED.items():
        whole = corpus(data, name, split)
        contexts = grounded.contexts(whole, extract, 1, rng, JUDGED_SIZES)
        made += _judged(whole, rng.sample(contexts, round(len(contexts) * share)) if split == "train" else contexts, rng)
    for number in range(JUDGED_SHEETS if split == "train" else JUDGED_SHEETS // 10):
        sheet = invented.sheet(rng, refused=0.5)
        context = judgments.sheet_context(f"sheet-{split}-{number}", sheet)
        made += judgments.answerability_examples(context, 6, rng)
        others = [(asked.question, asked.reply) for asked in invented.sheet(rng).asked if asked.number]
        made += judgments.support_examples(context, others, 4, rng)
        made += judgments.statement_examples(context.id, sheet, rng)
    texts = read_labels(data, INTENT_SET, split)
    return made + judgments.intent_examples(texts, intent_meanings(), INTENTS if split == "train" else INTENTS // 10, rng)


def intent_meanings() -> dict[str, str]:
    """clinc150's labels with their meanings."""
    text = Path(__file__).with_name("intent_meanings.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _judged(whole: Corpus, contexts: Sequence[Context], rng: random.Random) -> list[Example]:
    """The judgments on a reading set's contexts. Relevance is judged for the first passage alone."""
    of_article: dict[str, list[SourceQuestion]] = {}
    for question in whole.questions:
        of_article.setdefault(whole.passages[question.passage_id].article, []).append(question)
    made: list[Example] = []
    for context in contexts:
        others = rng.sample(whole.questions, 12)
        made += judgments.answerability_examples(context, 4, rng)
        made += judgments.support_examples(context, [(q.question, q.answers[0]) for q in others], 5, rng)
        own = next((question for question, number, _ in context.asked if number == 1), None)
        if own is None or rng.random() > RELEVANCE_SHARE:
            continue
        article = whole.passages[own.passage_id].article
        near = [q for q in of_article[article] if q.passage_id != own.passage_id]
        alone = replace(context, id=f"{context.id}-first", passages=context.passages[:1])
        far = [q for q in others if whole.passages[q.passage_id].article != article]
        made += judgments.relevance_examples(alone, far, rng.sample(near, min(12, len(near))), rng)
    return made


def _sample(whole: Corpus, count: int, rng: random.Random) -> Corpus:
    """`count` passages that have a question, and those questions."""
    asked = sorted({question.passage_id for question in whole.questions})
    chosen = set(rng.sample(asked, min(count, len(asked))))
    passages = {id_: passage for id_, passage in whole.passages.items() if id_ in chosen}
    return Corpus(whole.name, passages, tuple(q for q in whole.questions if q.passage_id in chosen))
