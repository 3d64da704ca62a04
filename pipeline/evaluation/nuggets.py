"""Nuggets: the facts that an answer must (vital) or may (okay) hold, taken from the gold quotes (Pradeep et al. 2024, TREC RAG).

EM and F1 fit short answers; a turn of a conversation is answered by a sentence. What a gold quote shares with a gold answer is
vital, a quote that shares nothing is okay. Each shared quantity is a nugget by itself. An answer holds a nugget of words if it
has half of them, one of a quantity if it states the value. Rules, no model: a paraphrase without the words is missed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lorag.pipeline.evaluation.quantities import PLACE, Quantity, Reading, read_quantities
from lorag.pipeline.evaluation.quantity_match import opposite, same, states
from lorag.pipeline.evaluation.text import normalize_answer

HELD = 0.5
"""Share of a nugget's words that an answer must have."""

OKAY_WEIGHT = 0.5
"""Weight of an okay nugget beside a vital one, as in TREC RAG."""

_ENDING = re.compile(r"(?<=\w{3})(?:ies|es|s|ed|ing|y)$")
_FUNCTION_WORDS = """
    is are was were be been it its they them their he she his her this that these those there here of in on at to from by for
    with as and or but if so than then not no yes do does did has have had will would may can could only also up out over
"""
_EMPTY = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True, slots=True)
class Nugget:
    """A fact: one quantity, or a set of word stems. `text` is the quote or answer that it was read from."""

    text: str
    vital: bool
    words: frozenset[str] = frozenset()
    quantity: Quantity | None = None


@dataclass(frozen=True, slots=True)
class NuggetRecall:
    """The share of vital nuggets that an answer holds, and of all with okay ones at half weight."""

    vital: float
    weighted: float


def nuggets_of(answers: Sequence[str], quotes: Sequence[str]) -> tuple[Nugget, ...]:
    """The nuggets of a gold answer (`answers[0]`) and its quotes. If no quote shares anything with it, the answer is vital."""
    if not answers:
        return ()
    wanted, found = read_quantities(answers[0]), list[Nugget]()
    for quote in quotes:
        given = read_quantities(quote)
        shared = [each for each in wanted.quantities if any(same(each, other) for other in given.quantities)]
        words = _stems(wanted) & _stems(given)
        if shared:
            found += [Nugget(quote, True, quantity=each) for each in shared]
        elif len(words) > 1 or (words and len(_stems(wanted)) <= 2):
            found.append(Nugget(quote, True, words))
        elif _stems(given):
            found.append(Nugget(quote, False, _stems(given)))
    if not any(nugget.vital for nugget in found):
        found += [Nugget(answers[0], True, quantity=each) for each in wanted.quantities]
        if not wanted.quantities and _stems(wanted):
            found.append(Nugget(answers[0], True, _stems(wanted)))
    return tuple(dict.fromkeys(found))


def nugget_recall(text: str, answers: Sequence[str], quotes: Sequence[str]) -> NuggetRecall | None:
    """How much of the nuggets `text` holds; nothing if its yes or no is the opposite of the gold answer's. None without any."""
    nuggets = nuggets_of(answers, quotes)
    if not any(nugget.vital for nugget in nuggets):
        return None
    reading = read_quantities(text)
    wrong_way = opposite(text, answers[0])
    held = [not wrong_way and _holds(reading, nugget) for nugget in nuggets]
    vital = [each for each, nugget in zip(held, nuggets, strict=True) if nugget.vital]
    weights = [1.0 if nugget.vital else OKAY_WEIGHT for nugget in nuggets]
    weighted = sum(weight for weight, each in zip(weights, held, strict=True) if each) / sum(weights)
    return NuggetRecall(sum(vital) / len(vital), weighted)


def _holds(reading: Reading, nugget: Nugget) -> bool:
    if nugget.quantity is not None:
        return states(reading, nugget.quantity)
    return len(nugget.words & _stems(reading)) >= HELD * len(nugget.words)


def _stems(reading: Reading) -> frozenset[str]:
    words = normalize_answer(reading.rest.replace(PLACE, " ")).split()
    return frozenset(_ENDING.sub("", word) for word in words if word not in _EMPTY)
