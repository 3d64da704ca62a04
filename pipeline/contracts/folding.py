"""Text as it is searched: different spellings of the same letters made one. What is stored and shown stays as it was written.

Folded are compatibility forms (Unicode NFKC: ligatures, full-width letters, presentation forms, superscripts, fractions), soft
hyphens and other invisible characters, and hyphens at line ends. Letters, case and accents stay. Pure text.
"""

from __future__ import annotations

import re
import unicodedata

_BROKEN = re.compile(r"(?<![^\W\d_])([^\W\d_]{2,})[-\u2010\u00ad][ \t]*\r?\n[ \t]*([^\W\d_]+)")
_JOINED_HYPHEN = re.compile("[\u2010\u2011]")
_INVISIBLE = re.compile("[\u00ad\u180e\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufe00-\ufe0f\ufeff]")
_SPACE_WITHIN = re.compile("(?<=[A-Za-z\u00c0-\u024f])\u200b(?=[A-Za-z\u00c0-\u024f])")
_VOWELS = (("\u0e4d\u0e32", "\u0e33"), ("\u0ecd\u0eb2", "\u0eb3"))
"""Vowels of Thai and Lao that NFKC takes apart. Dictionaries of words and readers' keyboards have them whole."""
_COMPOUNDING = frozenset({"half", "quasi", "pseudo", "self", "vice", "well"})
"""First parts of words that are written with a hyphen, also within a line, and begin hardly any other word."""


def fold(text: str) -> str:
    """`text` folded. Folding twice changes nothing more; plain ASCII changes only if a hyphen ends a line."""
    if text.isascii() and "-" not in text:
        return text
    joined = _BROKEN.sub(lambda match: _mended(match, text), text) if "\n" in text else text
    if joined.isascii():
        return joined
    plain = _SPACE_WITHIN.sub("", _INVISIBLE.sub("", unicodedata.normalize("NFKC", joined)))
    for apart, whole in _VOWELS:
        plain = plain.replace(apart, whole)
    return _JOINED_HYPHEN.sub("-", plain)


def _mended(match: re.Match[str], text: str) -> str:
    """The word that a line's end cut: without its hyphen, unless that is its own.

    It is its own before a capital letter, after a part that always has one, and if the text has the word with it elsewhere.
    """
    first, second = match.groups()
    if not second[0].islower():
        return f"{first}-{second}" if "\u00ad" not in match.group() else first + second
    own = first.lower() in _COMPOUNDING or f"{first}-{second}" in text
    return f"{first}-{second}" if own and "\u00ad" not in match.group() else first + second
