"""Numerals in forms of their own → plain digits: powers of ten, "5 k", "3 bn", a minus apart from its number, 5' and 6" as feet
and inches, and separators that other countries set and that cannot be misread: 1.234,50, 1.234.567 kg and 1,00,000. Pure text."""

from __future__ import annotations

import re
from fractions import Fraction

from lorag.pipeline.evaluation.units import UNIT

_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_POWER = re.compile(
    rf"(?<![\w.,])(?:(?P<times>{_NUMBER})\s*[×x·*]\s*)?10(?:(?P<raised>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,2}})|\^(?P<power>[-+]?\d{{1,2}}))(?!\w)"
)
_EXPONENT = re.compile(r"(?<![\w.,#-])(?P<times>\d{1,3}(?:\.\d+)?)[eE](?P<power>[-+]?\d{1,2})(?![\w.])")
_SHORT = re.compile(rf"(?<![\w.,/])(?P<number>{_NUMBER})\s?(?P<scale>k|K(?<=\dK)|bn|mn|mln)(?![\w/-])")
_SCALES = {"k": "thousand", "K": "thousand", "bn": "billion", "mn": "million", "mln": "million"}
_TEMPERATURE = r"(?:°|º|℃|℉|degrees?\b)"
_APART = re.compile(
    rf"(?P<before>^\s*|[(\[:=,]\s*|\b(?:at|of|to|is|was|are|were|about|around|from|and|or|between|than|by|below|above|until)\s+)"
    rf"[-−–]\s+(?=\d+(?:\.\d+)?(?:\s*(?:to|and|or|-|–|…)\s*[-−–]?\s*\d+(?:\.\d+)?)?\s*{_TEMPERATURE})",
    re.IGNORECASE,
)
_POINTS = re.compile(
    rf"(?<![\w.,])(?P<whole>\d{{1,3}}(?:\.\d{{3}})+),(?P<part>\d{{1,2}})(?![\w,]|\.\d)"
    rf"|(?<![\w.,])(?P<alone>\d{{1,3}}(?:\.\d{{3}}){{2,}})(?=\s*(?:{UNIT}|[£€¥₹]))"
)
_PAIRED = re.compile(r"(?<![\w.,])\d{1,2}(?:,\d{2})+,\d{3}(?![\d,]\d|\d|\w)")
_MOST = 30
_FEET_AND_INCHES = re.compile(r"(?<![\w.,'\"′″])(?P<feet>\d{1,2})\s?['′’]\s?(?P<inches>\d{1,2}(?:\.\d+)?)\s?[\"″”](?!\w)")
_PRIME = re.compile(r"(?<![\w.,'\"′″-])(?P<value>\d{1,4}(?:\.\d+)?)(?P<sign>['′’\"″”])(?![\w'\"])")
_PRIMES = {"'": "ft", "′": "ft", "’": "ft", '"': "inch", "″": "inch", "”": "inch"}
_OPENED = {"'": r"(?<!\w)'", "’": r"‘", '"': r'"', "”": "“"}


def plain_numerals(text: str) -> str:
    """`text` with each such numeral in plain digits, or with its scale as a word."""
    text = _FEET_AND_INCHES.sub(r"\g<feet> ft \g<inches> inch", text)
    text = _PRIME.sub(_prime, text)
    text = _POINTS.sub(_pointed, text)
    text = _PAIRED.sub(lambda found: found.group().replace(",", ""), text)
    text = _POWER.sub(lambda found: _power(found, found["raised"] or found["power"]), text)
    text = _EXPONENT.sub(lambda found: _power(found, found["power"]), text)
    text = _SHORT.sub(lambda found: f"{found['number']} {_SCALES[found['scale']]}", text)
    return _APART.sub(r"\g<before>-", text)


def _prime(found: re.Match[str]) -> str:
    """Feet or inches. Behind an opening quotation mark the sign closes the quotation, and behind degrees it is of an angle."""
    before, sign = found.string[: found.start()], found["sign"]
    opened = sign in _OPENED and re.search(_OPENED[sign], before) is not None
    return found.group() if opened or re.search(r"[°º]\s*$", before) else f"{found['value']} {_PRIMES[sign]}"


def _pointed(found: re.Match[str]) -> str:
    digits = (found["whole"] or found["alone"]).replace(".", "")
    return f"{digits}.{found['part']}" if found["part"] else digits


def _power(found: re.Match[str], power: str) -> str:
    """The value in digits; below one as a fraction that has been read. A power that no document means stays as it is."""
    exponent = int(power.translate(_RAISED))
    if abs(exponent) > _MOST:
        return found.group()
    value = Fraction((found["times"] or "1").replace(",", "")) * Fraction(10) ** exponent
    return str(value.numerator) if value.denominator == 1 else f"{value.numerator}÷{value.denominator}"
