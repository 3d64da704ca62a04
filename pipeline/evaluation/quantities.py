"""Reads the quantities of a text: numbers with units, ranges, times of day, dates, money, ratios, ordinals.

Values are exact fractions in the base unit of their kind, so 1.5 m equals 150 cm and 90 minutes equal 1.5 hours, while "1.5 m" is
not "15 m" and "2,640 litres" are not "2,640 kW". Digits inside a code or name (STP-144, 7-330, v1.2.3) are no quantities: they
stay words. Rules, not a model; it knows English number words and units (`units`), and no grammar.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from lorag.pipeline.evaluation.number_words import with_digits
from lorag.pipeline.evaluation.units import PAIRS, SIGNS, UNIT, Unit, unit_named

NUMBER, CLOCK, DATE, ORDINAL, RATIO = "number", "clock", "date", "ordinal", "ratio"
PLACE = "\x02"
"""Stands in `Reading.rest` where a quantity was."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """`low` to `high` (equal unless it is a range) in the base unit of `kind`; `written` are both as they were written.

    A date is month · 100 + day, day 0 for a month alone, with its `year` if it was given. A time of day is in seconds.
    """

    kind: str
    low: Fraction
    high: Fraction
    written: tuple[Fraction, Fraction]
    year: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The quantities of a text in order, and the rest of it with `PLACE` for each."""

    quantities: tuple[Quantity, ...]
    rest: str


def read_quantities(text: str) -> Reading:
    """The quantities of `text`. A number without a unit has the kind `number`."""
    rest, found = with_digits(_RESERVED.sub(" ", text)), dict[int, Quantity]()
    for pattern, read in _RULES:
        rest = pattern.sub(lambda match, read=read: _take(match, read, found), rest)  # type: ignore[misc]
    order = [int(each.group(1)) for each in _HELD.finditer(rest)]
    return Reading(tuple(found[key] for key in order), _HELD.sub(f" {PLACE} ", rest))


_RESERVED = re.compile(f"[{PLACE}\ue000\ue001÷]")
_HELD = re.compile("\ue000(\\d+)\ue001")
_HOLD = "(?<!\ue000)"


def _take(match: re.Match[str], read: Callable[[re.Match[str]], Quantity | None], found: dict[int, Quantity]) -> str:
    quantity = read(match)
    if quantity is None:
        return match.group()
    found[len(found)] = quantity
    return f"\ue000{len(found) - 1}\ue001"


_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)(?:÷\d+)?"
_BEFORE = rf"{_HOLD}(?<![\w÷\ue001])(?<!\w[-./:,])"
_AFTER = r"(?![\w÷\ue000-\ue001])(?!\.\d)(?![:/]\d)(?!-\w)(?!,\d)"
_NUM = rf"[-+]?{_DIGITS}"
_SCALE = r"(?:\s+(?P<scale>hundred|thousand|million|billion))?"
_GAP = r"(?:\s?|-)"
_PER = rf"(?:\s*(?:/|\bper\b|\ban?\b)\s*(?P<per>{UNIT}))?"
_TO = r"\s*(?:[-–—]|±|\bto\b)\s*"
_MONTHS = {
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
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s+(?P<year>(?:1[5-9]|20|21)\d\d)(?![\d:.]\d|\w))?"
_TIME = r"(?P<hour>\d{1,2})(?:[:.](?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?"
_HALF_DAY = r"\s*(?P<half>[ap])\.?m\b\.?"


def _value(text: str, scale: str | None = None) -> Fraction:
    above, _, below = text.replace(",", "").lstrip("+").partition("÷")
    times = {None: 1, "hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9}[scale]
    if below and not int(below):
        return Fraction(above)
    return Fraction(above) / int(below or 1) * times


def _one(kind: str, value: Fraction, written: Fraction | None = None, year: int | None = None) -> Quantity:
    shown = value if written is None else written
    return Quantity(kind, value, value, (shown, shown), year)


def _in_unit(low: Fraction, high: Fraction, unit: Unit, per: Unit | None) -> Quantity:
    kind, factor = unit.kind, unit.factor
    if per is not None:
        kind, factor = PAIRS.get((unit.kind, per.kind), f"{unit.kind}/{per.kind}"), unit.factor / per.factor
    low, high = sorted((low, high))
    offset = unit.offset if per is None else 0
    return Quantity(kind, low * factor + offset, high * factor + offset, (low, high))


def _measure(match: re.Match[str]) -> Quantity:
    value, per = _value(match["number"], match["scale"]), match["per"]
    return _in_unit(value, value, unit_named(match["unit"]), unit_named(per) if per else None)


def _span(match: re.Match[str]) -> Quantity | None:
    """A range or a tolerance in one unit: "3-5 days", "between 8 and 12 °C", "48 ± 2 s"."""
    low, high = _value(match["low"]), _value(match["high"])
    if "±" in match.group():
        low, high = low - high, low + high
    per = match["per"]
    return _in_unit(low, high, unit_named(match["unit"]), unit_named(per) if per else None)


def _compound(match: re.Match[str]) -> Quantity | None:
    """Two parts of one value: "1 hour 30 minutes", "2 years and 3 months"."""
    large, small = unit_named(match["large"]), unit_named(match["small"])
    if large.kind != small.kind or large.kind not in ("time", "months", "mass", "length") or large.factor <= small.factor:
        return None
    first, then = _value(match["first"]), _value(match["then"])
    return _one(large.kind, first * large.factor + then * small.factor, first)


def _listed(match: re.Match[str]) -> Quantity:
    per = match["per"]
    value = _value(match["number"])
    return _in_unit(value, value, unit_named(match["unit"]), unit_named(per) if per else None)


def _tolerance(match: re.Match[str]) -> Quantity:
    value = _value(match["number"])
    return _in_unit(-value, value, unit_named(match["unit"]), None)


def _bare_span(match: re.Match[str]) -> Quantity | None:
    """A range without unit. "7-330" and "2025-26" are codes: with a hyphen the ends must rise and be about equally long."""
    low, high = _value(match["low"]), _value(match["high"])
    if re.search(r"\d-\d", match.group()) and not (low < high and len(match["high"]) - len(match["low"]) <= 1):
        return None
    return Quantity(NUMBER, min(low, high), max(low, high), (low, high))


def _money(match: re.Match[str]) -> Quantity:
    ends = sorted((_value(match["low"], match["scale"]), _value(match["high"] or match["low"], match["scale"])))
    ends = [-end for end in reversed(ends)] if match["sign"] else ends
    return Quantity(SIGNS[match["money"]], ends[0], ends[1], (ends[0], ends[1]))


def _clock(match: re.Match[str]) -> Quantity | None:
    parts = match.groupdict()
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    if half := parts.get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    if hour > 24 or minute > 59:
        return None
    return _one(CLOCK, Fraction((hour * 3600 + minute * 60 + second) % 86_400))


def _named_hour(match: re.Match[str]) -> Quantity:
    return _one(CLOCK, Fraction(0 if match.group().lower() == "midnight" else 43_200))


def _month_day(match: re.Match[str]) -> Quantity | None:
    parts = match.groupdict()
    month = parts["month"]
    number, day = int(month) if month.isdigit() else _MONTHS[month], int(parts.get("day") or 0)
    if not (1 <= number <= 12 and day <= 31):
        return None
    year = parts.get("year")
    return _one(DATE, Fraction(number * 100 + day), Fraction(day or 0), int(year) if year else None)


def _ratio(match: re.Match[str]) -> Quantity | None:
    below = _value(match["below"])
    return _one(RATIO, _value(match["above"]) / below) if below else None


_ORDINAL_NAMES = "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_ORDINALS = {"first": 1} | dict(zip(_ORDINAL_NAMES.split(), range(3, 13), strict=True))
_NAMES = "rule part annex chapter section article table class category phase stage grade schedule appendix level type form"
_NUMBERED = _NAMES.split()
_AFTER_NAME = "(?:" + "|".join(rf"(?<=\b(?i:{word})\s)" for word in _NUMBERED) + ")"
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50}


def _ordinal(match: re.Match[str]) -> Quantity:
    word = match.group().lower()
    return _one(ORDINAL, Fraction(_ORDINALS[word] if word in _ORDINALS else int(match["number"])))


def _roman(match: re.Match[str]) -> Quantity:
    values = [_ROMAN[letter] for letter in match["roman"]]
    total = sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))
    return _one(NUMBER, Fraction(total))


def _bare(match: re.Match[str]) -> Quantity:
    return _one(NUMBER, _value(match["number"], match["scale"]))


Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], Quantity | None]]
_FROM = r"(?:\b(?:from|between)\s+)?"
_RULES: tuple[Rule, ...] = (
    (re.compile(rf"{_BEFORE}(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)(?!\d|-\w)"), _month_day),
    (re.compile(rf"{_BEFORE}(?P<day>\d{{1,2}})\.(?P<month>\d{{1,2}})\.(?P<year>(?:19|20)\d\d)(?!\d)"), _month_day),
    # "8–10 May" and "14 and 15 September": the first day stands before the month too
    (
        re.compile(
            rf"{_BEFORE}{_DAY}(?=\s*(?:[-–—]|\bto\b|\band\b|\bor\b|,)\s*\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}{_YEAR})"
        ),
        _month_day,
    ),
    (re.compile(rf"(?<!\d){_HOLD}(?<![\w.,:])\b{_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}"), _month_day),
    (re.compile(rf"\b{_MONTH}\s+{_DAY}(?![\d:]|\.\d|,\d)(?!\s*{UNIT}){_YEAR}"), _month_day),
    (re.compile(rf"\b{_MONTH}\s+(?P<year>(?:19|20)\d\d)\b"), _month_day),
    # "from 5 to 6 pm": the first hour is of the same half of the day
    (
        re.compile(rf"{_BEFORE}(?P<hour>\d{{1,2}})(?=\s*(?:[-–—]|\bto\b|\band\b)\s*\d{{1,2}}(?:[:.]\d\d)?{_HALF_DAY})", re.I),
        _clock,
    ),
    (re.compile(rf"{_BEFORE}{_TIME}{_HALF_DAY}", re.I), _clock),
    (re.compile(rf"{_HOLD}(?<![\w.:/])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:])"), _clock),
    (re.compile(rf"{_BEFORE}(?P<hour>[01]\d|2[0-3])(?P<minute>[0-5]\d)\s*(?:hrs?|h)\b"), _clock),
    (re.compile(rf"{_BEFORE}(?P<hour>\d{{1,2}})\s+o'clock\b", re.I), _clock),
    (re.compile(r"\b(?:noon|midday|midnight)\b", re.I), _named_hour),
    (
        re.compile(
            rf"(?P<sign>(?<!\w)-)?(?<!\w)(?P<money>[£€$]|(?:M|GBP|EUR)(?=\s|\d+[.,]\d))\s?(?P<low>{_DIGITS})"
            rf"(?:{_TO}(?P<high>{_DIGITS}))?{_SCALE}(?![\w÷])"
        ),
        _money,
    ),
    (re.compile(rf"{_BEFORE}(?P<above>\d{{1,2}})\s+in\s+(?P<below>{_DIGITS}){_AFTER}(?!\s*{UNIT})"), _ratio),
    (
        re.compile(
            rf"\bbetween\s+{_BEFORE}(?P<low>{_NUM})(?:{_GAP}{UNIT})?\s+and\s+(?P<high>{_NUM}){_GAP}(?P<unit>{UNIT}){_PER}"
        ),
        _span,
    ),
    (re.compile(rf"{_FROM}{_BEFORE}(?P<low>{_NUM})(?:{_GAP}{UNIT})?{_TO}(?P<high>{_NUM}){_GAP}(?P<unit>{UNIT}){_PER}"), _span),
    (re.compile(rf"±\s*(?P<number>{_DIGITS}){_GAP}(?P<unit>{UNIT})"), _tolerance),
    (
        re.compile(
            rf"{_BEFORE}(?P<first>{_NUM}){_GAP}(?P<large>{UNIT})\s*(?:\band\s+)?(?P<then>{_DIGITS}){_GAP}(?P<small>{UNIT})"
        ),
        _compound,
    ),
    # "8, 10 and 12 m": each has the unit of the last; a year has not
    (
        re.compile(
            rf"{_BEFORE}(?!(?:19|20)\d\d\b)(?P<number>{_NUM})"
            rf"(?=(?:\s*,\s*{_NUM}){{0,6}},?\s+(?:and|or)\s+{_NUM}{_GAP}(?P<unit>{UNIT}){_PER})"
        ),
        _listed,
    ),
    (re.compile(rf"{_BEFORE}(?P<number>{_NUM}){_SCALE}{_GAP}(?P<unit>{UNIT}){_PER}"), _measure),
    (re.compile(rf"\bbetween\s+{_BEFORE}(?P<low>{_NUM})\s+and\s+(?P<high>{_NUM}){_AFTER}"), _bare_span),
    (re.compile(rf"{_FROM}{_BEFORE}(?P<low>{_NUM}){_TO}(?P<high>{_NUM}){_AFTER}"), _bare_span),
    (re.compile(rf"{_BEFORE}(?P<number>\d+)(?:st|nd|rd|th)\b|\b(?:{'|'.join(_ORDINALS)})\b", re.I), _ordinal),
    (
        re.compile(rf"{_AFTER_NAME}(?P<roman>[IVXL]{{1,6}})\b"),
        _roman,
    ),
    (re.compile(rf"{_BEFORE}(?P<number>{_NUM}){_SCALE}{_AFTER}"), _bare),
)
