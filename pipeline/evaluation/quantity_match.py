"""Compares texts with their quantities as quantities: what an answer has to state to be right, and what a passage states.

Official SQuAD normalisation drops signs, points and units' marks, so "1.5 m" equals "15 m" (`text`). Here a quantity is one
token, equal to any other form of the same value, and words are compared as in SQuAD.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lorag.pipeline.evaluation.bounds import with_plain_bounds
from lorag.pipeline.evaluation.quantities import PLACE, Reading, read_quantities
from lorag.pipeline.evaluation.quantity import CLOCK, DATE, DECADE, HOURS, NUMBER, SLASHED, WEEKDAY, Quantity
from lorag.pipeline.evaluation.text import normalize_answer
from lorag.pipeline.evaluation.units import LOOSE, UNIT, unit_named

NO_PLAIN_NUMBERS = frozenset({DATE, SLASHED, WEEKDAY, DECADE})
"""Kinds that no number without a unit equals."""

RIGHT_F1 = 0.5
"""An answer is right from this F1 on, if it contradicts no quantity."""

_NOT = frozenset(("not", "never", "isnt", "arent", "wasnt", "werent"))
_PREPOSITIONS = frozenset(("at", "on", "in", "by", "for", "from", "to", "until", "after", "before"))
_NONE = frozenset(("no", "without", "zero"))
_NEGATIONS = frozenset(("not", "never", "no", "cannot", "cant", "wont", "nor", "none"))
_AUXILIARIES = "is are was were has have had does do did can could will would must should may might need"
_VERBS = frozenset(_AUXILIARIES.split())
_NOT_ANY = frozenset(("not", "without", "hardly", "havent", "hasnt", "arent", "isnt", "dont", "doesnt", "didnt"))

_HEADED = re.compile(rf"[(\[|,]\s*(?:in\s+)?({UNIT})\s*[)\]|]")


def same(left: Quantity, right: Quantity) -> bool:
    """Whether two quantities are one value.

    A number without a unit, and a unit that says less ("degrees" beside a temperature, "$" beside USD), equal what has the same
    digits. A fraction equals its share in percent, and 21h both 21:00 and 21 hours. A date without a year equals that of any
    year. `10.00` without a unit equals the time 10:00.
    """
    if left.kind == right.kind:
        years = {each.year for each in (left, right) if each.year is not None}
        return (left.low, left.high) == (right.low, right.high) and len(years) < 2
    kinds = {left.kind, right.kind}
    if kinds in ({HOURS, "time"}, {HOURS, CLOCK}, {NUMBER, "share"}) and (left.low, left.high) == (right.low, right.high):
        return HOURS in kinds or left.low.denominator > 1
    if CLOCK in kinds and NUMBER in kinds:
        clock, number = (left, right) if left.kind == CLOCK else (right, left)
        return _as_time(number) == clock.low
    plain = NUMBER in kinds and kinds.isdisjoint(NO_PLAIN_NUMBERS)
    vague = right.kind in LOOSE.get(left.kind, ()) or left.kind in LOOSE.get(right.kind, ())
    return (plain or vague) and left.written == right.written


def agrees(left: Quantity, right: Quantity) -> bool:
    """Whether two answers to one question say the same: one value, and not "at least" beside "at most" or "before" beside
    "after". A source may state a limit from its other side ("refused under 5 kg"), so `states` does not ask for this."""
    return same(left, right) and left.bound * right.bound >= 0 and left.side * right.side >= 0


def _as_time(number: Quantity) -> int | None:
    """Seconds of a day that a number such as 10.30 means as a time."""
    hour, minutes = divmod(number.low, 1)
    minute = minutes * 100
    if number.low != number.high or minute.denominator != 1 or not (0 <= hour <= 24 and minute < 60):
        return None
    return int(hour * 3600 + minute * 60)


def states(source: Reading, claim: Quantity) -> bool:
    """Whether a text states the quantity `claim`.

    A claimed value may also be an end of a stated range, a claimed range may have its ends stated one by one, and a claimed date
    may leave out day or year. A stated number without a unit counts if the text heads a column with the claim's unit.
    """
    return any(_states(each, claim) for each in source.quantities) or _states_ends(source, claim) or _states_headed(source, claim)


def _states(stated: Quantity, claim: Quantity) -> bool:
    if stated.kind in (WEEKDAY, DECADE):
        return same(stated, claim)
    if stated.kind == claim.kind == DATE:
        days = claim.low == stated.low or (claim.low % 100 == 0 and claim.low == stated.low - stated.low % 100)
        return days and claim.year in (None, stated.year)
    if claim.kind == NUMBER:
        number = claim.written[0]
        if stated.kind == DATE:
            return claim.low == claim.high and number in (stated.written[0], stated.year)
        if claim.low == claim.high and number in stated.written:
            return True
    if stated.kind == NUMBER != claim.kind:
        return claim.kind == CLOCK and same(stated, claim)
    if same(stated, claim):
        return True
    return stated.kind == claim.kind and claim.low == claim.high and claim.low in (stated.low, stated.high)


def _states_ends(source: Reading, claim: Quantity) -> bool:
    if claim.low == claim.high:
        return False
    ends = [
        Quantity(claim.kind, end, end, (written, written))
        for end, written in ((claim.low, claim.written[0]), (claim.high, claim.written[1]))
    ]
    return all(states(source, end) for end in ends)


def _states_headed(source: Reading, claim: Quantity) -> bool:
    heads = {unit_named(" ".join(head.split())).kind for head in _HEADED.findall(source.rest)}
    if claim.kind not in heads:
        return False
    return any(each.kind == NUMBER and each.written == claim.written for each in source.quantities)


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A text's words, normalised as in SQuAD, and its quantities, in order."""

    items: tuple[str | Quantity, ...]

    @property
    def words(self) -> list[str]:
        return [each for each in self.items if isinstance(each, str)]

    @property
    def quantities(self) -> list[Quantity]:
        return [each for each in self.items if isinstance(each, Quantity)]

    @property
    def codes(self) -> list[str]:
        """Words with digits: names, versions, and values that no rule reads."""
        return [word for word in self.words if any(letter.isdigit() for letter in word)]


@lru_cache(maxsize=4096)
def _tokens(text: str) -> _Tokens:
    reading = read_quantities(text)
    items: list[str | Quantity] = []
    left = iter(reading.quantities)
    for at, piece in enumerate(with_plain_bounds(reading.rest).split(PLACE)):
        items += [next(left)] if at else []
        items += normalize_answer(piece).split()
    return _Tokens(tuple(items))


def quantity_match(text: str, golds: Sequence[str]) -> float:
    """1.0 if `text` has the words and quantities of one of `golds` in its order, else 0.0."""
    return float(any(_equal(_tokens(text), _tokens(gold)) for gold in golds))


def quantity_f1(text: str, golds: Sequence[str]) -> float:
    """F1 of words and quantities as bags, the best over `golds`. If one side has no tokens it is 1.0 only if both have none."""
    return max((_f1(_tokens(text), _tokens(gold)) for gold in golds), default=0.0)


def is_right_answer(text: str, golds: Sequence[str]) -> bool:
    """What counts as right: for one of `golds`, F1 with quantities of 0.5 or more, no contradicting quantity, and no opposite of
    its yes or no. If the gold answer is only yes or no, the same word first."""
    return any(_is_right(_tokens(text), _tokens(gold)) for gold in golds)


def opposite(text: str, gold: str) -> bool:
    """Whether one text begins with yes and the other with no."""
    return {_first(_tokens(text)), _first(_tokens(gold))} == {"yes", "no"}


def _first(tokens: _Tokens) -> str | Quantity:
    return tokens.items[0] if tokens.items else ""


def _is_right(given: _Tokens, gold: _Tokens) -> bool:
    said, wanted = _first(given), _first(gold)
    if {said, wanted} == {"yes", "no"}:
        return False
    if wanted in ("yes", "no") and len(gold.items) == 1:
        return said == wanted
    if _f1(given, gold) < RIGHT_F1 or _contradicts(given, gold) or _is_opposite(given, gold):
        return False
    return not (_denies(given, gold) or _denies(gold, given))


def _contradicts(given: _Tokens, gold: _Tokens) -> bool:
    """Whether each side has a quantity or a code that the other lacks: one stands where another should. A missing or a further
    one alone is no contradiction; F1 prices it. A quantity is a code's equal if it has the same digits ("7" and "7a")."""
    left, right = _unpaired(given.quantities, gold.quantities)
    here, there = Counter(given.codes) - Counter(gold.codes), Counter(gold.codes) - Counter(given.codes)
    for quantities, codes in ((left, there), (right, here)):
        for each in [*quantities]:
            if alike := next((code for code in codes.elements() if _digits(code) == _digits(str(each.written[0]))), None):
                quantities.remove(each)
                codes -= Counter([alike])
    return bool(left or here) and bool(right or there)


def _is_opposite(left: _Tokens, right: _Tokens) -> bool:
    """Whether both say the same but for a negation on one side: "dogs are not allowed" beside "dogs are allowed"."""
    (negated, words), (other, others) = _without_negation(left), _without_negation(right)
    return negated != other and words == others and not any(_unpaired(left.quantities, right.quantities))


def _without_negation(tokens: _Tokens) -> tuple[bool, Counter[str]]:
    """Whether a text has a negation, and its words without negations and auxiliary verbs, which come and go with them. "No. 5" is
    a number."""
    pairs = zip(tokens.items, (*tokens.items[1:], ""), strict=True)
    words = [word for word, after in pairs if isinstance(word, str) and not (word == "no" and isinstance(after, Quantity))]
    plain = [word for word in words if word not in _NEGATIONS and not _is_contracted(word)]
    return len(plain) < len(words), Counter(word for word in plain if word not in _VERBS)


def _is_contracted(word: str) -> bool:
    return word.endswith("nt") and word.removesuffix("nt") in _VERBS


def _denies(left: _Tokens, right: _Tokens) -> bool:
    """Whether `left` denies what `right` counts: "no boats" beside "five boats", "not 5 kg" beside "5 kg"."""
    if _without(left) & _counted(right):
        return True
    stated = [each for at, each in enumerate(right.items) if isinstance(each, Quantity) and not _negated(right, at)]
    own = [each for at, each in enumerate(left.items) if isinstance(each, Quantity) and not _negated(left, at)]
    denied = [each for at, each in enumerate(left.items) if isinstance(each, Quantity) and _negated(left, at, right)]
    return any(any(same(no, yes) for yes in stated) and not any(same(no, yes) for yes in own) for no in denied)


def _negated(tokens: _Tokens, at: int, other: _Tokens | None = None) -> bool:
    """Whether "not" stands before the quantity; with a preposition between, only if `other` says the same but for that word.

    "Not on Sundays" is the opposite of "on Sundays", and says the same as "closed on Sundays".
    """
    before = [each if isinstance(each, str) else "" for each in tokens.items[max(0, at - 2) : at]]
    if before and before[-1] in _NOT:
        return True
    if len(before) < 2 or before[0] not in _NOT or before[1] not in _PREPOSITIONS:
        return False
    rest = Counter(word for word in tokens.words if word not in _NOT)
    return other is None or rest == Counter(other.words)


def _without(tokens: _Tokens) -> set[str]:
    """The nouns that a text says there are none of, in the singular."""
    pairs = zip(tokens.items, tokens.items[1:], strict=False)
    after = [noun for word, noun in pairs if word in _NONE and isinstance(noun, str)]
    triples = zip(tokens.items, tokens.items[1:], tokens.items[2:], strict=False)
    after += [noun for word, any_, noun in triples if word in _NOT_ANY and any_ == "any" and isinstance(noun, str)]
    return {_singular(noun) for noun in after}


def _counted(tokens: _Tokens) -> set[str]:
    """The nouns that a text counts, in the singular: those after a number other than zero."""
    pairs = zip(tokens.items, tokens.items[1:], strict=False)
    numbers = ((each, noun) for each, noun in pairs if isinstance(each, Quantity) and isinstance(noun, str))
    return {_singular(noun) for each, noun in numbers if each.kind == NUMBER and each.high and not each.bound}


def _singular(noun: str) -> str:
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def _equal(left: _Tokens, right: _Tokens) -> bool:
    if len(left.items) != len(right.items):
        return False
    pairs = zip(left.items, right.items, strict=True)
    return all(agrees(a, b) if isinstance(a, Quantity) and isinstance(b, Quantity) else a == b for a, b in pairs)


def _f1(given: _Tokens, gold: _Tokens) -> float:
    if not given.items or not gold.items:
        return float(given.items == gold.items)
    words = sum((Counter(given.words) & Counter(gold.words)).values())
    return 2 * (words + _shared(given.quantities, gold.quantities)) / (len(given.items) + len(gold.items))


def _shared(left: Sequence[Quantity], right: Sequence[Quantity]) -> int:
    """The most pairs of equal quantities, each used once."""
    return len(left) - len(_unpaired(left, right)[0])


def _unpaired(left: Sequence[Quantity], right: Sequence[Quantity]) -> tuple[list[Quantity], list[Quantity]]:
    """What is left of both sides without the pairs of equal quantities: exact kinds are paired first, then loose ones."""
    rest = list(right)
    for exact in (True, False):
        unpaired = []
        for each in left:
            match = next((other for other in rest if agrees(each, other) and (not exact or each.kind == other.kind)), None)
            if match is None:
                unpaired.append(each)
            else:
                rest.remove(match)
        left = unpaired
    return list(left), rest
