"""The values of a text: its quantities, codes and names. What a rewrite must keep, and what no reply may invent.

Rules, not a model: the same on every machine, but they miss names in lower case and at the start of a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from lorag.pipeline.evaluation.quantities import Reading, read_quantities
from lorag.pipeline.evaluation.quantity import Quantity
from lorag.pipeline.evaluation.quantity_match import agrees, states

_TOKEN = re.compile(r"\w+(?:[-./'’&]\w+)*")
_POSSESSIVE = re.compile(r"['’]s$")
_SENTENCE_END = re.compile(r"[.?!:]\s*[\"'“‘(]*$")


@dataclass(frozen=True, slots=True)
class Values:
    """The quantities of a text, and its names and codes, case-folded."""

    quantities: tuple[Quantity, ...] = ()
    names: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.quantities) + len(self.names)


def named_entities(text: str) -> set[str]:
    """Case-folded words that look like names, codes or numbers.

    A word counts if it has a digit, two or more capitals, or one capital and is not the first of a sentence. A possessive
    ending is cut.
    """
    found: set[str] = set()
    for match in _TOKEN.finditer(text):
        word = _POSSESSIVE.sub("", match.group())
        capitals = sum(letter.isupper() for letter in word)
        before = text[: match.start()].strip(" \"'“‘(")
        opens = not before or _SENTENCE_END.search(before) is not None
        if any(letter.isdigit() for letter in word) or capitals > 1 or (word[:1].isupper() and not opens):
            found.add(word.casefold())
    return found


def entity_recall(question: str, rewrite: str, gold: str) -> float | None:
    """Share of the gold rewrite's entities missing from the raw question that the rewrite has; None if there are none."""
    missing = named_entities(gold) - _words(question)
    return len(missing & _words(rewrite)) / len(missing) if missing else None


def values_of(text: str) -> Values:
    """The values that `text` states."""
    reading = _read(text)
    return Values(reading.quantities, frozenset(named_entities(reading.rest)))


def shared_values(text: str, other: str) -> Values:
    """The values of `text` that `other` states too."""
    values, quantities, words = values_of(text), _read(other).quantities, _words(other)
    return Values(tuple(each for each in values.quantities if _stated(each, quantities)), values.names & words)


def kept_share(values: Values, text: str) -> float | None:
    """The share of `values` that `text` states, in any form of the same value; None if there are none."""
    if not len(values):
        return None
    quantities = _read(text).quantities
    return (sum(_stated(each, quantities) for each in values.quantities) + len(values.names & _words(text))) / len(values)


def invents(text: str, sources: Iterable[str]) -> bool:
    """Whether `text` states a value that none of `sources` states."""
    values, known = values_of(text), tuple(sources)
    if not len(values):
        return False
    words = {word for source in known for word in _words(source)}
    readings = [_read(source) for source in known]
    return not values.names <= words or not all(any(states(each, value) for each in readings) for value in values.quantities)


def _stated(value: Quantity, quantities: Iterable[Quantity]) -> bool:
    return any(agrees(each, value) for each in quantities)


@lru_cache(maxsize=4096)
def _read(text: str) -> Reading:
    return read_quantities(text)


@lru_cache(maxsize=4096)
def _words(text: str) -> frozenset[str]:
    return frozenset(_POSSESSIVE.sub("", match.group()).casefold() for match in _TOKEN.finditer(text))
