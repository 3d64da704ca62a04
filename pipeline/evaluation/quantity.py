"""The record of a quantity that a text states."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

NUMBER, CLOCK, DATE, ORDINAL, RATIO = "number", "clock", "date", "ordinal", "ratio"
HOURS = "hours"
"""21h and 1h30: a time of day or how long something takes, which nobody can tell by the form."""
WEEKDAY, DECADE = "weekday", "decade"
SLASHED = "date with slashes"
"""A date of which nobody can tell day and month: 03/05/2024 is itself alone."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """`low` to `high` (equal unless it is a range) in the base unit of `kind`; `written` are both as they were written.

    A date is month · 100 + day, day 0 for a month alone, with its `year` if it was given. A time of day is in seconds, a weekday
    1 to 7. `bound` and `side` are those of `bounds`: at least or at most, after or before.
    """

    kind: str
    low: Fraction
    high: Fraction
    written: tuple[Fraction, Fraction]
    year: int | None = None
    bound: int = 0
    side: int = 0


def one(kind: str, value: Fraction, written: Fraction | None = None, year: int | None = None) -> Quantity:
    """A quantity that is no range; written as its value, if nothing else is given."""
    shown = value if written is None else written
    return Quantity(kind, value, value, (shown, shown), year)
