"""Grounded question answering from public sets: contexts of passages, and questions that they answer or do not.

A round shows every passage of a corpus once. Passages are divided into contexts of one to five; about half of them are with
others of the same article. Each context gets the questions that it answers, and some that it does not. Questions on the same
context share their prompt's beginning, so training reads the context once (lorag.training.packing). Pure: no model, no file.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.starter_training.replies import Answer
from benchmarks.starter_training.sources import Corpus, SourcePassage, SourceQuestion
from lorag.pipeline.contracts import synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.retrieval.sentences import sentences
from lorag.training.sft import Example

SIZES = {1: 1, 2: 3, 3: 5, 4: 6, 5: 1}
"""Passages in a context → its relative frequency. Serving shows four."""

CONTEXT_CHARS = (1300, 1800, 2600)
"""Limits in characters of a context; one is drawn for each."""

PASSAGE_CHARS = 700
"""The longest served passage; a longer one is often cut to a window of whole sentences."""

QUESTIONS_PER_PASSAGE = 6
REFUSED_SHARE = 0.28
"""Questions a context does not answer, as a share of those it does."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A passage as a context shows it, perhaps cut."""

    passage: SourcePassage
    text: str


@dataclass(frozen=True, slots=True)
class Context:
    """Passages in the order shown, and questions with the number of the passage that answers (0: none) and the reply."""

    id: str
    passages: tuple[PassageText, ...]
    asked: tuple[tuple[SourceQuestion, int, str], ...]


@dataclass(frozen=True, slots=True)
class _Pool:
    """All questions of a corpus, and those of each article."""

    all: Sequence[SourceQuestion]
    of_article: Mapping[str, Sequence[SourceQuestion]]


def contexts(corpus: Corpus, answer: Answer, rounds: int, rng: random.Random, sizes: Mapping[int, int] = SIZES) -> list[Context]:
    """The contexts of `rounds` rounds over the corpus."""
    of_passage: dict[str, list[SourceQuestion]] = {}
    of_article: dict[str, list[SourceQuestion]] = {}
    for question in corpus.questions:
        of_passage.setdefault(question.passage_id, []).append(question)
        of_article.setdefault(corpus.passages[question.passage_id].article, []).append(question)
    pool = _Pool(corpus.questions, of_article)
    made = []
    for number in range(rounds):
        for place, group in enumerate(_group(list(corpus.passages.values()), sizes, rng)):
            made.append(_context(f"{corpus.name}-{number}-{place}", group, of_passage, pool, answer, rng))
    return [context for context in made if context.asked]


def _group(passages: list[SourcePassage], sizes: Mapping[int, int], rng: random.Random) -> list[list[SourcePassage]]:
    """All passages, once each, in groups; half of them with others of their article, if there are any."""
    rng.shuffle(passages)
    half = len(passages) // 2
    ordered = sorted(passages[:half], key=lambda passage: passage.article) + passages[half:]
    groups = []
    while ordered:
        size = rng.choices(list(sizes), list(sizes.values()))[0]
        groups.append(ordered[:size])
        ordered = ordered[size:]
    for group in groups:
        rng.shuffle(group)
    return groups


def _context(
    id_: str,
    group: Sequence[SourcePassage],
    of_passage: Mapping[str, Sequence[SourceQuestion]],
    others: _Pool,
    answer: Answer,
    rng: random.Random,
) -> Context:
    shown: list[Shown] = []
    chars_left = rng.choice(CONTEXT_CHARS)
    for passage in group:
        text = crop(passage.text, rng) if len(passage.text) > PASSAGE_CHARS and rng.random() < 0.7 else passage.text
        if not shown or chars_left >= len(text):
            shown.append(Shown(passage, text))
            chars_left -= len(text)
    asked = []
    for number, one in enumerate(shown, 1):
        own = list(of_passage.get(one.passage.id, ()))
        for question in rng.sample(own, min(len(own), QUESTIONS_PER_PASSAGE)):
            if reply := answer(question, one.text):
                asked.append((question, number, reply))
    asked += [(question, 0, "") for question in _unanswered(shown, others, round(len(asked) * REFUSED_SHARE + rng.random()), rng)]
    return Context(id_, tuple(PassageText(one.passage.title, one.text) for one in shown), tuple(asked))


def crop(text: str, rng: random.Random) -> str:
    """A window of whole sentences of at most `PASSAGE_CHARS`, from a random start, or the beginning of a longer sentence."""
    spans = sentences(text)
    first = rng.randrange(len(spans))
    while first and spans[-1][1] - spans[first - 1][0] <= PASSAGE_CHARS:
        first -= 1
    start, end = spans[first][0], spans[first][1]
    for _, stop in spans[first + 1 :]:
        if stop - start > PASSAGE_CHARS:
            break
        end = stop
    return text[start : min(end, start + PASSAGE_CHARS)]


def _unanswered(shown: Sequence[Shown], others: _Pool, count: int, rng: random.Random) -> list[SourceQuestion]:
    """Questions that nothing shown answers; every second is on the same articles, if there are any."""
    text = " ".join(one.text for one in shown).casefold()
    ids = {one.passage.id for one in shown}
    articles = dict.fromkeys(one.passage.article for one in shown)
    near = [question for article in articles for question in others.of_article.get(article, ())]
    found: list[SourceQuestion] = []
    for attempt in range(count * 8):
        if len(found) == count:
            break
        question = rng.choice(near if near and attempt % 2 else others.all)
        fits = question.passage_id not in ids and not any(answer.casefold() in text for answer in question.answers)
        if fits and question not in found:
            found.append(question)
    return found


def examples(made: Sequence[Context]) -> list[Example]:
    """One synthesizer example for each question of each context."""
    return [
        Example(
            f"{context.id}-{place}",
            synthesize.messages(question.question, context.passages),
            synthesize.target(reply, [number] if number else []),
        )
        for context in made
        for place, (question, number, reply) in enumerate(context.asked)
    ]
