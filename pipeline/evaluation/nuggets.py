"""Nuggets: the facts that an answer must (vital) or may (okay) hold, taken from the gold quotes (Pradeep et al. 2024, TREC RAG).

EM and F1 fit short answers; a turn of a conversation is answered by a sentence. What a gold quote shares with a gold answer is
vital, a quote that shares nothing is okay. Each shared quantity is a nugget by itself. An answer holds a nugget of words if it
has half of them, one of a quantity if it states the value. Rules, no model: a paraphrase without the words is missed.

Recall alone would favour who copies the whole passage. So length costs precision, by the official measure of the TREC QA tracks
(Voorhees 2003; Lin and Demner-Fushman 2005): with r vital and a okay nuggets held, of R vital ones, and a length of l characters
that are no white space, recall is r / R, precision 1 up to 100 · (r + a) characters and 100 · (r + a) / l beyond.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lorag.pipeline.evaluation.quantities import PLACE, Reading, read_quantities
from lorag.pipeline.evaluation.quantity import Quantity
from lorag.pipeline.evaluation.quantity_match import opposite, same, states
from lorag.pipeline.evaluation.text import normalize_answer

HELD = 0.5
"""Share of a nugget's words that an answer must have."""

ALLOWANCE = 100
"""Characters without white space that each nugget held allows an answer, as at TREC."""

BETA = 3.0
"""Recall weighs as three times precision, as at TREC from 2004 on."""

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
class NuggetScores:
    """The share of vital nuggets that an answer holds, and its precision: 1 within the length allowance."""

    vital: float
    precision: float

    @property
    def f(self) -> float:
        """(β² + 1) · precision · recall / (β² · precision + recall); 0 without a vital nugget."""
        if not self.vital:
            return 0.0
        return (BETA**2 + 1) * self.precision * self.vital / (BETA**2 * self.precision + self.vital)

    @property
    def is_complete(self) -> bool:
        """Whether the answer holds every vital nugget within its length allowance."""
        return self.vital == self.precision == 1.0


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


def score_nuggets(text: str, answers: Sequence[str], quotes: Sequence[str]) -> NuggetScores | None:
    """How much of the nuggets `text` holds, and at what length; nothing if its yes or no is the opposite of the gold answer's.
    None without any vital nugget."""
    nuggets = nuggets_of(answers, quotes)
    if not any(nugget.vital for nugget in nuggets):
        return None
    reading = read_quantities(text)
    wrong_way = opposite(text, answers[0])
    held = [not wrong_way and _holds(reading, nugget) for nugget in nuggets]
    vital = [each for each, nugget in zip(held, nuggets, strict=True) if nugget.vital]
    length, allowed = sum(len(word) for word in text.split()), ALLOWANCE * sum(held)
    return NuggetScores(sum(vital) / len(vital), 1.0 if length <= allowed else allowed / length)


def _holds(reading: Reading, nugget: Nugget) -> bool:
    if nugget.quantity is not None:
        return states(reading, nugget.quantity)
    return len(nugget.words & _stems(reading)) >= HELD * len(nugget.words)


def _stems(reading: Reading) -> frozenset[str]:
    words = normalize_answer(reading.rest.replace(PLACE, " ")).split()
    return frozenset(_ENDING.sub("", word) for word in words if word not in _EMPTY)
