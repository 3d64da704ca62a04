"""Patterns of dates, weekdays, decades and times of day, and how their matches are read."""

from __future__ import annotations

import re
from fractions import Fraction

from lorag.pipeline.evaluation.quantity import CLOCK, DATE, DECADE, SLASHED, WEEKDAY, Quantity, one

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "January Jan", "February Feb", "March Mar", "April Apr", "May", "June Jun", "July Jul", "August Aug",
            "September Sept Sep", "October Oct", "November Nov", "December Dec",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
MONTH = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})\b\.?"
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
YEAR = r"(?:,?\s+(?P<year>(?:1[5-9]|20|21)\d\d)(?![\d:.]\d|\w))?"
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
TIME = r"(?P<hour>\d{1,2})(?:[:.](?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?"
HALF_DAY = r"\s*(?P<half>[ap])\.?m\b\.?"

_DAYS = """
    first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth
    seventeenth eighteenth nineteenth twentieth twenty-first twenty-second twenty-third twenty-fourth twenty-fifth twenty-sixth
    twenty-seventh twenty-eighth twenty-ninth thirtieth thirty-first
"""
_DAY_NAMES = _DAYS.split()
_NAMED = rf"(?i:{'|'.join(sorted(_DAY_NAMES, key=len, reverse=True)).replace('-', '[ -]')})\b"
_A_MONTH = rf"(?:{'|'.join(sorted(MONTHS, key=len, reverse=True))})\b"
_NAMED_DAY = re.compile(
    rf"(?i:\bthe\s+)?\b(?P<day>{_NAMED})(?=\s+of\s+{_A_MONTH})|\b(?P<month>{_A_MONTH})\s+the\s+(?P<after>{_NAMED})"
)
_AT = r"^\s*|\b(?:at|by|until|till|from|before|after|to|past|around|about|and)\s+"
_PART_OF_DAY = re.compile(
    rf"(?P<before>{_AT})?(?<![\w.,:])(?P<hour>\d{{1,2}})(?P<minute>[:.][0-5]\d)?(?P<clock>\s+o['’]clock)?"
    r"\s+(?:in\s+the\s+(?P<part>morning|afternoon|evening)|at\s+night)\b",
    re.IGNORECASE,
)


def named_days(text: str) -> str:
    """`text` with the days of months that it spells out in digits: the fifth of May, June the third."""
    return _NAMED_DAY.sub(_named_day, text)


def _named_day(found: re.Match[str]) -> str:
    day = _DAY_NAMES.index("-".join((found["day"] or found["after"]).lower().split())) + 1
    return f"{found['month']} {day}" if found["month"] else str(day)


def halves_of_days(text: str) -> str:
    """`text` with a.m. or p.m. in place of "in the morning", "in the afternoon", "in the evening" and "at night".

    A number that is no time by its form ("2 in the morning and 1 in the afternoon") needs a preposition or the beginning.
    """
    return _PART_OF_DAY.sub(_half_of_day, text)


def _half_of_day(found: re.Match[str]) -> str:
    hour, part = int(found["hour"]), (found["part"] or "night").lower()
    is_time = found["before"] is not None or found["minute"] or found["clock"]
    if not is_time or hour > 24:
        return found.group()
    time = f"{found['before'] or ''}{hour}{found['minute'] or ''}"
    if not 1 <= hour <= 12:
        return time if found["minute"] else f"{time}:00"
    late = part in ("afternoon", "evening") or (part == "night" and 5 < hour < 12)
    return f"{time} {'pm' if late else 'am'}"


def clock(match: re.Match[str]) -> Quantity | None:
    """A time of day in digits; None for an hour or a minute that no day has."""
    parts = match.groupdict()
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    if half := parts.get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    if hour > 24 or minute > 59:
        return None
    return one(CLOCK, Fraction((hour * 3600 + minute * 60 + second) % 86_400))


def spoken_time(match: re.Match[str]) -> Quantity | None:
    """A time of day in words: half past ten, a quarter to nine, 10 minutes past 6 pm."""
    part, hour = match["part"].split()[0].lower(), int(match["hour"])
    minutes = {"half": 30, "quarter": 15}.get(part) or int(part)
    if hour > 24 or minutes > 59:
        return None
    if match["half"]:
        hour = hour % 12 + (12 if match["half"].lower() == "p" else 0)
    seconds = hour * 3600 + minutes * (60 if match["way"].lower() == "past" else -60)
    return one(CLOCK, Fraction(seconds % 86_400))


def weekday(match: re.Match[str]) -> Quantity:
    """Monday is 1."""
    return one(WEEKDAY, Fraction(WEEKDAYS.index(match["weekday"].lower()) + 1))


def decade(match: re.Match[str]) -> Quantity:
    """The 1990s, by their first year."""
    return one(DECADE, Fraction(match["decade"] or match["early"]))


def named_hour(match: re.Match[str]) -> Quantity:
    """Noon, midday or midnight."""
    return one(CLOCK, Fraction(0 if match.group().lower() == "midnight" else 43_200))


def slashed(match: re.Match[str]) -> Quantity | None:
    """13/05/2024 and 05/13/2024 are one date; of 03/05/2024 nobody can tell which is the month, unless both are the same."""
    first, second, year = int(match["first"]), int(match["second"]), int(match["year"])
    days = sorted((first, second))
    if not (1 <= days[0] <= 12 and days[1] <= 31):
        return None
    if days[1] > 12 or days[0] == days[1]:
        return one(DATE, Fraction(days[0] * 100 + days[1]), Fraction(days[1]), year)
    return one(SLASHED, Fraction(first * 100 + second), Fraction(first), year)


def month_day(match: re.Match[str]) -> Quantity | None:
    """A date, or a month of a year; None for a month or day that no year has."""
    parts = match.groupdict()
    month = parts["month"]
    number, day = int(month) if month.isdigit() else MONTHS[month], int(parts.get("day") or 0)
    if not (1 <= number <= 12 and day <= 31):
        return None
    year = parts.get("year")
    return one(DATE, Fraction(number * 100 + day), Fraction(day or 0), int(year) if year else None)
