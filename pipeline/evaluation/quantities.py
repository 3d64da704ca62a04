"""Reads the quantities of a text: numbers with units, ranges, rates, times of day, weekdays, dates, money, ratios, ordinals.

Values are exact fractions in the base unit of their kind, so 1.5 m equals 150 cm and 90 minutes equal 1.5 hours, while "1.5 m" is
not "15 m" and "2,640 litres" are not "2,640 kW". Digits inside a code or name (STP-144, 7-330, v1.2.3) are no quantities: they
stay words. Rules, not a model; it knows English number words and units (`units`), and no grammar.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from lorag.pipeline.evaluation.bounds import SIDED, bound_of, side_of
from lorag.pipeline.evaluation.number_words import with_digits
from lorag.pipeline.evaluation.quantity import HOURS, NUMBER, ORDINAL, RATIO, Quantity, one
from lorag.pipeline.evaluation.times import (
    DAY,
    HALF_DAY,
    MONTH,
    TIME,
    WEEKDAYS,
    YEAR,
    clock,
    decade,
    month_day,
    named_hour,
    slashed,
    spoken_time,
    weekday,
)
from lorag.pipeline.evaluation.units import CODES, PAIRS, SIGNS, UNIT, WORD_UNIT, Unit, unit_named

PLACE = "\x02"
"""Stands in `Reading.rest` where a quantity was."""


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
    placed = [(found[int(each.group(1))], rest[: each.start()], rest[each.end() :]) for each in _HELD.finditer(rest)]
    return Reading(tuple(_placed(*each) for each in placed), _HELD.sub(f" {PLACE} ", rest))


def _placed(quantity: Quantity, before: str, after: str) -> Quantity:
    """The quantity with what the words beside it say."""
    if quantity.low != quantity.high:
        return quantity
    return replace(quantity, bound=bound_of(before, after), side=side_of(after) if quantity.kind in SIDED else 0)


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
_TO = r"\s*(?:[-–—]|…|±|\bto\b)\s*"


_SIGN = "|".join(map(re.escape, sorted(SIGNS, key=len, reverse=True)))
_CODE = "|".join(CODES)
_LETTERS = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "bn": "billion"}


def _value(text: str, scale: str | None = None) -> Fraction:
    above, _, below = text.replace(",", "").lstrip("+").partition("÷")
    times = {None: 1, "hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9}[scale]
    if below and not int(below):
        return Fraction(above)
    return Fraction(above) / int(below or 1) * times


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


def _hours(match: re.Match[str]) -> Quantity | None:
    """21h, 1h30: a time of day or a time that something takes."""
    return one(HOURS, Fraction(int(match["hour"]) * 3600 + int(match["minute"] or 0) * 60), Fraction(int(match["hour"])))


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
    return one(large.kind, first * large.factor + then * small.factor, first)


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
    scale = _LETTERS[match["letter"]] if match["letter"] else match["scale"]
    ends = sorted((_value(match["low"], scale), _value(match["high"] or match["low"], scale)))
    ends = [-end for end in reversed(ends)] if match["sign"] else ends
    sign = match["money"]
    return Quantity(SIGNS[sign] if sign in SIGNS else CODES[sign], ends[0], ends[1], (ends[0], ends[1]))


def _rate(match: re.Match[str]) -> Quantity | None:
    """A number of times a day, a week or a year."""
    value, per = _value(match["number"], match["scale"]), unit_named(match["per"])
    if per.kind not in ("time", "months"):
        return None
    return Quantity(f"{NUMBER}/{per.kind}", value / per.factor, value / per.factor, (value, value))


def _ratio(match: re.Match[str]) -> Quantity | None:
    below = _value(match["below"])
    return one(RATIO, _value(match["above"]) / below) if below else None


_ORDINAL_NAMES = "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_ORDINALS = {"first": 1} | dict(zip(_ORDINAL_NAMES.split(), range(3, 13), strict=True))
_NAMES = "rule part annex chapter section article table class category phase stage grade schedule appendix level type form"
_NUMBERED = _NAMES.split()
_AFTER_NAME = "(?:" + "|".join(rf"(?<=\b(?i:{word})\s)" for word in _NUMBERED) + ")"
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50}


def _ordinal(match: re.Match[str]) -> Quantity:
    word = match.group().lower()
    return one(ORDINAL, Fraction(_ORDINALS[word] if word in _ORDINALS else int(match["number"])))


def _roman(match: re.Match[str]) -> Quantity:
    values = [_ROMAN[letter] for letter in match["roman"]]
    total = sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))
    return one(NUMBER, Fraction(total))


def _bare(match: re.Match[str]) -> Quantity:
    return one(NUMBER, _value(match["number"], match["scale"]))


_RATIO_WORDS = ("scale", "ratio", "mix", "mixture", "odds", "gradient", "slope", "proportion")
_OF_RATIO = f"(?:{'|'.join(_RATIO_WORDS)})"
_AFTER_RATIO = "(?:" + "|".join(rf"(?<=\b{word}\s)|(?<=\b{word}\s{of}\s)" for word in _RATIO_WORDS for of in ("of", "is")) + ")"
_TWO = r"(?P<above>\d{1,4}):(?P<below>\d{1,5})"
Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], Quantity | None]]
_FROM = r"(?:\b(?:from|between)\s+)?"
_RULES: tuple[Rule, ...] = (
    (re.compile(rf"{_BEFORE}(?P<decade>(?:19|20)\d0)['’]?s\b|(?<=\bthe\s)(?P<early>1[5-8]\d0)['’]?s\b"), decade),
    (
        re.compile(
            rf"(?:\ba\s+)?(?<![\w.:,÷-])(?P<part>half(?=\s+past)|quarter|\d{{1,2}}(?:\s+minutes|(?=\s+past)))\s+(?P<way>past|to)\s+"
            rf"(?P<hour>\d{{1,2}})(?![\w:÷]|[.,]\d|\s*{UNIT})(?:{HALF_DAY})?",
            re.I,
        ),
        spoken_time,
    ),
    (re.compile(rf"{_BEFORE}(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)(?!\d|-\w)"), month_day),
    (re.compile(rf"{_BEFORE}(?P<year>(?:19|20)\d\d)/(?P<month>\d\d)/(?P<day>\d\d)(?![\w/])"), month_day),
    (re.compile(rf"{_BEFORE}(?P<first>\d{{1,2}})/(?P<second>\d{{1,2}})/(?P<year>(?:19|20)\d\d)(?![\w/])"), slashed),
    (re.compile(rf"{_BEFORE}(?P<day>\d{{1,2}})\.(?P<month>\d{{1,2}})\.(?P<year>(?:19|20)\d\d)(?!\d)"), month_day),
    # "8–10 May" and "14 and 15 September": the first day stands before the month too
    (
        re.compile(
            rf"{_BEFORE}{DAY}(?=\s*(?:[-–—]|\bto\b|\band\b|\bor\b|,)\s*\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{MONTH}{YEAR})"
        ),
        month_day,
    ),
    (re.compile(rf"(?<!\d){_HOLD}(?<![\w.,:])\b{DAY}\s+(?:of\s+)?{MONTH}{YEAR}"), month_day),
    (re.compile(rf"\b{MONTH}\s+{DAY}(?![\d:]|\.\d|,\d)(?!\s*{UNIT}){YEAR}"), month_day),
    (re.compile(rf"\b{MONTH}\s+(?P<year>(?:19|20)\d\d)\b"), month_day),
    # the weekday beside a date says nothing of its own
    (re.compile(rf"\b(?P<weekday>{'|'.join(WEEKDAYS)})s?\b(?!,?\s+(?:the\s+)?\ue000)", re.I), weekday),
    # "from 5 to 6 pm": the first hour is of the same half of the day
    (
        re.compile(rf"{_BEFORE}(?P<hour>\d{{1,2}})(?=\s*(?:[-–—]|\bto\b|\band\b)\s*\d{{1,2}}(?:[:.]\d\d)?{HALF_DAY})", re.I),
        clock,
    ),
    # a scale or a mix, not a time of day: by the word beside it, or by digits that no time has
    (re.compile(rf"{_AFTER_RATIO}{_TWO}(?![\w:÷]|\.\d)", re.I), _ratio),
    (re.compile(rf"{_BEFORE}{_TWO}(?![\w:÷])(?=\s+{_OF_RATIO}\b)", re.I), _ratio),
    (re.compile(rf"{_BEFORE}(?P<above>\d{{1,2}}):(?P<below>\d(?!\d)|[6-9]\d(?!\d)|\d{{3,5}})(?![\w:÷]|\.\d)"), _ratio),
    (re.compile(rf"{_BEFORE}{TIME}{HALF_DAY}", re.I), clock),
    (re.compile(rf"{_HOLD}(?<![\w.:/])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:])"), clock),
    (re.compile(rf"{_BEFORE}(?P<hour>[01]\d|2[0-3])(?P<minute>[0-5]\d)\s*(?:hrs?|h|(?<=0\d\d\d\s)hours)\b"), clock),
    (re.compile(rf"{_BEFORE}(?P<hour>\d{{1,2}})\s+o'clock\b", re.I), clock),
    (re.compile(r"\b(?:noon|midday|midnight)\b", re.I), named_hour),
    (
        re.compile(
            rf"(?P<sign>(?<!\w)-)?(?<!\w)(?P<money>{_SIGN}|(?:{_CODE})(?=\s|\d+[.,]\d))\s?(?P<low>{_DIGITS})"
            rf"(?:{_TO}(?P<high>{_DIGITS}))?(?:{_SCALE}|(?P<letter>{'|'.join(_LETTERS)}))(?![\w÷]|[.,]\d)"
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
    (re.compile(rf"{_BEFORE}(?P<hour>[01]?\d|2[0-4])h(?P<minute>[0-5]\d)?(?![\w÷]|[.,:]\d|\s*(?:/|\bper\b|\d))"), _hours),
    # "8, 10 and 12 m": each has the unit of the last; a year has not
    (
        re.compile(
            rf"{_BEFORE}(?!(?:19|20)\d\d\b)(?P<number>{_NUM})"
            rf"(?=(?:\s*,\s*{_NUM}){{0,6}},?\s+(?:and|or)\s+{_NUM}{_GAP}(?P<unit>{UNIT}){_PER})"
        ),
        _listed,
    ),
    (re.compile(rf"{_BEFORE}(?P<number>{_NUM}){_SCALE}{_GAP}(?P<unit>{UNIT}){_PER}"), _measure),
    (
        re.compile(
            rf"{_BEFORE}(?P<number>{_NUM}){_SCALE}(?:\s+times)?\s*(?:/|\b(?:per|an?|each|every)\b)\s*(?P<per>{WORD_UNIT})", re.I
        ),
        _rate,
    ),
    (re.compile(rf"\bbetween\s+{_BEFORE}(?P<low>{_NUM})\s+and\s+(?P<high>{_NUM}){_AFTER}"), _bare_span),
    (re.compile(rf"{_FROM}{_BEFORE}(?P<low>{_NUM}){_TO}(?P<high>{_NUM}){_AFTER}"), _bare_span),
    (re.compile(rf"{_BEFORE}(?P<number>\d+)(?:st|nd|rd|th)\b|\b(?:{'|'.join(_ORDINALS)})\b", re.I), _ordinal),
    (
        re.compile(rf"{_AFTER_NAME}(?P<roman>[IVXL]{{1,6}})\b"),
        _roman,
    ),
    (re.compile(rf"{_BEFORE}(?P<number>{_NUM}){_SCALE}{_AFTER}"), _bare),
)
