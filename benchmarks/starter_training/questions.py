"""The questioner's examples: passage and span → the question that a person asked; conversation → the turn that was said.

A person's question is left out if it cannot be understood without its passage, since a search could not use it. No model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.starter_training import invented
from benchmarks.starter_training.grounded import PASSAGE_CHARS, crop
from benchmarks.starter_training.replies import reply_of
from benchmarks.starter_training.sources import (
    Corpus,
    SourcePassage,
    SourceQuestion,
    SourceTurn,
    Split,
    history_of,
    split_of,
)
from lorag.pipeline.contracts import question
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.retrieval.sentences import sentences
from lorag.pipeline.storage.jsonl import read_lines
from lorag.training.sft import Example

WHOLE_SENTENCE = 0.25
"""Share of spans that are widened to their sentence, so that not all answers are a few words."""

KEYWORDS = 0.15
"""Share of full questions of a reading set that become keywords, as people type them into a search box."""

QUESTIONS_PER_PASSAGE = 5
WRITTEN = Path(__file__).with_name("written")
"""Working papers of invented organisations with questions on spans of them, all written for this: the public sets hold none."""

CROPS = 8
"""Windows that are tried for one that holds the span, if the passage is long."""

_VAGUE = re.compile(
    r"\b(?:author|poster|narrator|writer|op|speaker|passage|text|article|paragraph|story|this (?:person|user|post|guy)|"
    r"they|them|their|he|him|his|she|her|it|its|i|my|me|you|your|this|that|these|those)\b",
    re.IGNORECASE,
)
"""Words by which a question leans on its passage."""

_YES_NO = re.compile(r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)\b", re.IGNORECASE)

_FUNCTION_WORDS = re.compile(
    r"(?:a|an|and|are|as|at|be|been|by|can|could|did|do|does|for|from|had|has|have|how|in|into|is|it|its|of|on|or|should|that|the|"
    r"their|there|these|this|those|to|was|were|what|when|where|which|who|whom|whose|why|will|with|would|name|kind|type|many|much)"
)


def reading_examples(corpus: Corpus, manner: Manner, rng: random.Random, *, share: float = 1.0) -> list[Example]:
    """Examples of `share` of a set's passages, each with at most `QUESTIONS_PER_PASSAGE` questions that stand alone.

    Of full questions, `KEYWORDS` become terse. A long passage is cut to a window that holds the span, one for all its questions
    if there is such, since they share the prompt's beginning then.
    """
    of_passage: dict[str, list[SourceQuestion]] = {}
    for asked in corpus.questions:
        if stands_alone(asked.question) and shares_a_word(asked.question, corpus.passages[asked.passage_id]):
            of_passage.setdefault(asked.passage_id, []).append(asked)
    chosen = rng.sample(sorted(of_passage), round(len(of_passage) * share))
    made = []
    for id_ in chosen:
        passage, questions = corpus.passages[id_], of_passage[id_]
        drawn = rng.sample(questions, min(len(questions), QUESTIONS_PER_PASSAGE))
        shown, spans = _window(corpus.name, passage.text, drawn, rng)
        heading = PassageText(passage.title, shown)
        for asked, span in spans:
            wide = _sentence_of(span, shown) if rng.random() < WHOLE_SENTENCE else span
            terse = manner is Manner.FULL and rng.random() < KEYWORDS
            said = keywords(asked.question) if terse else put(asked.question, manner)
            prompt = question.messages(heading, wide, Manner.TERSE if terse else manner)
            made.append(Example(asked.id, prompt, question.target(said)))
    return made


def sheet_examples(count: int, rng: random.Random, name: str) -> list[Example]:
    """Examples on invented lists and tables: of every answered question of `count` sheets, the passage and the exact words."""
    made = []
    for number in range(count):
        sheet = invented.sheet(rng)
        for place, asked in enumerate(one for one in sheet.asked if one.number):
            passage = sheet.passages[asked.number - 1]
            terse = rng.random() < KEYWORDS
            said = keywords(asked.question) if terse else put(asked.question, Manner.FULL)
            prompt = question.messages(passage, asked.reply, Manner.TERSE if terse else Manner.FULL)
            made.append(Example(f"sheet-{name}-{number}-{place}", prompt, question.target(said)))
    return made


def written_examples(split: Split) -> list[Example]:
    """Of each written question on a working paper in `split`, the passage and span; of its terse form too, if there is one."""
    made = []
    for file in sorted(WRITTEN.glob("*.jsonl")):
        for number, line in enumerate(read_lines(file), start=1):
            row: Mapping[str, Any] = line.fields
            if split_of(f"written {row['title'].partition(' > ')[0]}") != split:
                continue
            heading = PassageText(row["title"], row["text"])
            for place, asked in enumerate(row["asked"]):
                for manner in (manner for manner in Manner if manner.value in asked):
                    prompt = question.messages(heading, asked["span"], manner)
                    id_ = f"written-{file.stem}-{number}-{place}-{manner.value}"
                    made.append(Example(id_, prompt, question.target(put(asked[manner.value], manner))))
    return made


def follow_up_examples(turns: Sequence[SourceTurn], count: int, rng: random.Random) -> list[Example]:
    """At most `count` changed turns in reverse: conversation and standalone question → what the user said."""
    changed = [turn for turn in turns if turn.question.strip() and turn.rewrites[0].strip() not in ("", turn.question.strip())]
    return [
        Example(turn.id, question.follow_up_messages(history_of(turn), turn.rewrites[0]), question.target(turn.question))
        for turn in rng.sample(changed, min(count, len(changed)))
    ]


def stands_alone(asked: str) -> bool:
    """Whether a question of 4 to 30 words names what it is about and asks for more than yes or no, as far as words can show."""
    words = re.findall(r"\w+", asked)
    return 4 <= len(words) <= 30 and not _VAGUE.search(asked) and not _YES_NO.match(asked) and bool(keywords(asked))


def shares_a_word(asked: str, passage: SourcePassage) -> bool:
    """Whether a content word of the question, or its beginning, is in the passage or its title."""
    text = f"{passage.title} {passage.text}".casefold()
    return any(word[:5].casefold() in text for word in keywords(asked).split() if len(word) >= 4)


def put(asked: str, manner: Manner) -> str:
    """A question as its manner writes it: a full one begins with a capital and ends with one question mark."""
    if manner is Manner.TERSE:
        return asked.strip()
    bare = asked.strip().rstrip("?. ")
    return f"{bare[:1].upper()}{bare[1:]}?"


def keywords(asked: str) -> str:
    """The content words of a question, in order and lower case; empty if fewer than two."""
    words = [word for word in re.findall(r"[\w'’.%-]*\w", asked.lower()) if not _FUNCTION_WORDS.fullmatch(word)]
    return " ".join(words) if len(words) >= 2 else ""


def _window(
    name: str, text: str, asked: Sequence[SourceQuestion], rng: random.Random
) -> tuple[str, list[tuple[SourceQuestion, str]]]:
    """The text as served, and those questions whose span it holds, with the span. Of several windows, the one that holds most."""
    reply = reply_of(name)
    windows = [crop(text, rng) for _ in range(CROPS)] if len(text) > PASSAGE_CHARS else [text]
    held = [[(each, span) for each in asked if (span := reply(each, shown))] for shown in windows]
    best = max(range(len(windows)), key=lambda n: len(held[n]))
    return windows[best], held[best]


def _sentence_of(span: str, text: str) -> str:
    """The sentence of `text` that holds `span`; the span itself if none does."""
    return next((text[start:end].strip() for start, end in sentences(text) if span in text[start:end]), span)
