"""Numbers in words, fractions and typographic signs → plain digits, so that one grammar of numbers reads them all. Pure text.

"twenty-four" → `24`, "half an hour" → `1÷2 hour`, "1½" → `3÷2`, "minus five" → `-5`. `÷` is a fraction that has been read.
"""

from __future__ import annotations

import re
from fractions import Fraction

from lorag.pipeline.evaluation.numerals import plain_numerals
from lorag.pipeline.evaluation.times import halves_of_days, named_days
from lorag.pipeline.evaluation.units import UNIT, WORD_UNIT

_BELOW_TWENTY = """
    zero one two three four five six seven eight nine ten
    eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
"""
_SMALL = _BELOW_TWENTY.split()
_TEN_NAMES = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = dict(zip(_TEN_NAMES.split(), range(20, 100, 10), strict=True))
_VALUES = {word: value for value, word in enumerate(_SMALL)} | _TENS
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 10**9}
_GLYPHS = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅕": "1/5",
}  # fmt: skip
_PARTS = {"half": Fraction(1, 2), "quarter": Fraction(1, 4), "third": Fraction(1, 3), "three quarters": Fraction(3, 4)}

_WORD = rf"(?:{'|'.join(sorted((*_VALUES, *_SCALES), key=len, reverse=True))})"
_WORDS = re.compile(
    rf"(?<![\w-])(?:a\s+(?=hundred|thousand|million|billion))?{_WORD}(?:(?:[\s-]+and)?[\s-]+{_WORD})*(?!\w)(?!-(?!{WORD_UNIT})[a-z])",
    re.I,
)
_A_DOZEN = re.compile(r"\b(half\s+)?an?\s+dozen\b", re.I)
_DOZEN = re.compile(r"(?:(?<![\w.,÷])(\d+)\s+)?\bdozen\b", re.I)
_GLYPH = re.compile(rf"(\d+)?\s?([{''.join(_GLYPHS)}])")
_MIXED = re.compile(rf"(?<![\w.,/÷])(?:(\d+)\s+)?(\d)/(\d{{1,2}})(?=[\s-]*{UNIT})")
_PROPER = re.compile(r"(?<![\w.,/÷:-])(?:(?P<whole>\d{1,2})\s+)?(?P<above>[1-7])/(?P<below>[2-9]|10)(?![\w/÷]|[.,-]\d)")
_AND_PART = re.compile(rf"(?<![\w.,])(\d+)\s+and\s+(?:a|one)\s+(half|quarter|third)\b(?!\s+{WORD_UNIT})", re.I)
_ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"]
_HIGH_ORDINAL = re.compile(rf"\b({_TEN_NAMES.replace(' ', '|')})[\s-]({'|'.join(_ORDINALS)})\b", re.I)
_ONE_ALONE = re.compile(rf"\s*an?\s+({WORD_UNIT})\s*\.?\s*", re.I)
_FROM_TEN = "|".join([*_SMALL[10:], *_TENS])
_YEAR = re.compile(
    rf"\b(fifteen|sixteen|seventeen|eighteen|nineteen|twenty)\s+({_FROM_TEN})(?:[\s-]({'|'.join(_SMALL[1:10])}))?(?![\w-])", re.I
)
_HALF_ALONE = re.compile(r"\s*(?:(?:one|an?)[\s-])?half\s*\.?\s*", re.I)
_PART_OF = re.compile(
    rf"\b(?:(\d+|one)\s+and\s+)?(?:an?\s+|(3)\s+|one\s+)?(half|quarters?|third)\s+(?:(?:of\s+)?an?\s+)?(?={WORD_UNIT})", re.I
)
_PART_NAMES = ["half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
_FRACTION = re.compile(
    rf"(?<![\w-])(?P<above>{_WORD}|an?|[1-9])[\s-]+(?P<below>{'|'.join(_PART_NAMES[1:])})(?P<s>s)?\b"
    rf"(?!\s+(?:of\s+an?\s+)?{WORD_UNIT})(?P<of>(?=\s+of\b))?",
    re.I,
)
_PART_ALONE = re.compile(
    rf"(?P<before>^\s*|\b(?:by|about|around|only|nearly|almost|than|to|up|costs?|takes?)\s+)an?\s+(?P<part>{'|'.join(_PART_NAMES[1:])})"
    r"(?=\s*(?:[.,;!)]|$))",
    re.I,
)
_OFTEN = re.compile(
    rf"\b(?P<times>once|twice|thrice|{_WORD}\s+times|\d+\s+times)\s+"
    rf"(?:(?P<each>hourly|daily|weekly|monthly|yearly)\b|(?=(?:an?|per|each|every)\s+{WORD_UNIT}))",
    re.I,
)
_EACH = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"}
_TIMES = {"once": "1 times", "twice": "2 times", "thrice": "3 times"}
_AND_HALF = re.compile(rf"\b(an?|\d+)\s+({WORD_UNIT})\s+and\s+a\s+(half|quarter)\b", re.I)
_ONE_UNIT = re.compile(
    rf"\b(within|for|after|in|about|over|under|than|least|most|takes?|lasts?|only|every)\s+an?\s+(?={WORD_UNIT})", re.I
)
_THIN_SPACE = re.compile(r"(?<=\d)[\u00a0\u2007\u2009\u202f'’](?=\d{3}(?!\d))")
_SPACED = re.compile(rf"(?<![\d.,\w-])(\d{{1,3}}(?: \d{{3}})+)(?=\s*{UNIT})")
_COMMA = re.compile(rf"(?<![\d.,\w])(\d{{1,3}}),(\d{{1,2}})(?=\s*{UNIT})")
_SIGN = re.compile(r"(?<![\w-])(minus|plus)\s+(?=\d)", re.I)
_BELOW = re.compile(r"(?<![\w.,-])(\d+(?:\.\d+)?)(\s*(?:°\s?C|degrees?(?:\s+celsius)?|°)?)\s+below\s+(?:zero|0|freezing)\b", re.I)


def with_digits(text: str) -> str:
    """`text` with every number that it spells out, and every sign and separator, in one plain form."""
    if _HALF_ALONE.fullmatch(text):
        return "1÷2"
    text = plain_numerals(_THIN_SPACE.sub("", _ONE_ALONE.sub(r"1 \1", text) if _ONE_ALONE.fullmatch(text) else text))
    text = re.sub(r"(?<!\w)[−–—‒](?=\d)", "-", text)
    text = re.sub(r"[‐‑]", "-", text).replace("\u00a0", " ").replace("\u202f", " ")
    text = re.sub(r"[°º]\s+(?=[CF]\b)", "°", text)
    text = _GLYPH.sub(lambda found: _mixed(found.group(1), *_GLYPHS[found.group(2)].split("/")), text)
    text = _MIXED.sub(lambda found: _mixed(found.group(1), found.group(2), found.group(3)), text)
    text = _PROPER.sub(_proper, text)
    text = _A_DOZEN.sub(lambda found: "6" if found.group(1) else "12", text)
    text = _OFTEN.sub(_often, text)
    text = _FRACTION.sub(_fraction, text)
    text = _PART_ALONE.sub(lambda found: f"{found['before']}1÷{_PART_NAMES.index(found['part'].lower()) + 2}", text)
    text = named_days(text)
    text = _HIGH_ORDINAL.sub(lambda found: f"{_TENS[found[1].lower()] + _ORDINALS.index(found[2].lower()) + 1}th", text)
    text = _YEAR.sub(_year, text)
    text = halves_of_days(_WORDS.sub(_number, text))
    text = _DOZEN.sub(lambda found: str(12 * int(found.group(1) or 1)), text)
    text = _AND_PART.sub(lambda found: _written(int(found[1]) + _PARTS[found[2].lower()]), text)
    text = _AND_HALF.sub(_unit_and_half, text)
    text = _PART_OF.sub(_part, text)
    text = _ONE_UNIT.sub(r"\1 1 ", text)
    text = _BELOW.sub(r"-\1\2", text)
    text = _SPACED.sub(lambda found: found.group(1).replace(" ", ""), text)
    text = _COMMA.sub(r"\1.\2", text)
    return _SIGN.sub(lambda found: "-" if found.group(1).lower() == "minus" else "", text)


def _mixed(whole: str | None, above: str, below: str) -> str:
    if not int(below):
        return f"{whole or ''} {above}/{below}"
    return _written(int(whole or 0) + Fraction(int(above), int(below)))


def _proper(found: re.Match[str]) -> str:
    """A fraction below one without a unit. "24/7" and "9/4" are none."""
    if int(found["above"]) >= int(found["below"]):
        return found.group()
    return _mixed(found["whole"], found["above"], found["below"])


def _written(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{value.numerator}÷{value.denominator}"


def _number(found: re.Match[str]) -> str:
    words = [word for word in re.split(r"[\s-]+", found.group().lower()) if word not in ("and", "a")]
    if words == ["one"] and not re.match(rf"[\s-]*{WORD_UNIT}", found.string[found.end() :]):
        return found.group()  # "the one on the left" is no number
    if words[0] in _SCALES and re.search(r"\d\s$", found.string[: found.start()]):
        return found.group()  # "1.2 million" has its digits
    if not _is_one_number(words):
        return re.sub(_WORD, lambda each: str(_value([each.group().lower()])), found.group(), flags=re.I)
    return str(_value(words))


def _is_one_number(words: list[str]) -> bool:
    """Whether each word continues the number: "twenty four" and "two hundred six" are one, "two three" and "four twenty" two."""
    for first, second in zip(words, words[1:], strict=False):
        follows = second in _SCALES or first in _SCALES or (first in _TENS and 0 < _VALUES[second] < 10)
        if not follows:
            return False
    return True


def _year(found: re.Match[str]) -> str:
    """Nineteen forty-five. "Twenty ten" is one too."""
    hundreds, tens, ones = (_VALUES[each.lower()] if each else 0 for each in found.groups())
    if ones and tens < 20:
        return found.group()
    return str(100 * hundreds + tens + ones)


def _value(words: list[str]) -> int:
    total = part = 0
    for word in words:
        if word == "hundred":
            part = max(part, 1) * 100
        elif word in _SCALES:
            total, part = total + max(part, 1) * _SCALES[word], 0
        else:
            part += _VALUES[word]
    return total + part


def _often(found: re.Match[str]) -> str:
    times = _TIMES.get(found["times"].lower(), found["times"])
    return f"{times} a {_EACH[found['each'].lower()]}" if found["each"] else f"{times} "


def _fraction(found: re.Match[str]) -> str:
    """Two thirds, or a third of something; a third boat and the third are ordinals."""
    above = found["above"].lower()
    count = 1 if above in ("a", "an") else int(above) if above.isdigit() else _VALUES.get(above, 0)
    if not 0 < count < 10 or (count == 1 and found["of"] is None and above != "one") or (count > 1 and not found["s"]):
        return found.group()
    return _written(Fraction(count, _PART_NAMES.index(found["below"].lower()) + 2))


def _part(found: re.Match[str]) -> str:
    part = _PARTS["quarter"] if found.group(3).lower().startswith("quarter") else _PARTS[found.group(3).lower()]
    return _written(int((found.group(1) or "0").replace("one", "1")) + part * (3 if found.group(2) else 1)) + " "


def _unit_and_half(found: re.Match[str]) -> str:
    count = int(found.group(1)) if found.group(1).isdigit() else 1
    return f"{_written(count + _PARTS[found.group(3).lower()])} {found.group(2)}"
