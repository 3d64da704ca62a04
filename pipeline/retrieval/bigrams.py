"""Scripts written without blanks, for a search by words: every two neighbouring characters are a word.

Overlapping bigrams find Chinese about as well as a dictionary's words do (Nie, Gao, Zhang and Zhou 2000, "On the use of words and
n-grams for Chinese information retrieval"; so do Lucene's CJKBigramFilter and, for Korean, Lee and Ahn 1996), and need none. Pure
text.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator

import regex

_UNSPACED = (
    r"\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u30fc\u3005"
    r"\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}"
)
"""Hangul has blanks, but its particles stand at the word: bigrams find the word without them."""

# Words of India's scripts have blanks; the engine's tokenizer would cut them at signs that it takes for no letters.
_MARKED = r"\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}"
_MARKED += r"\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Tibetan}"
_RUNS = regex.compile(rf"(?P<unspaced>(?:[{_UNSPACED}]\p{{M}}*+)++)|(?P<marked>(?:[{_MARKED}]\p{{M}}*+[\u200c\u200d]?)++)")
_CHARACTERS = regex.compile(r"\X")


def with_bigrams(text: str) -> str:
    """`text` with each run of such a script replaced by its bigrams, blanks between them; all other text stays.

    A single character is a word by itself. A character is what a reader sees as one: a consonant with its vowel and tone.
    """
    return _RUNS.sub(_words, text)


def _words(run: regex.Match[str]) -> str:
    found = unicodedata.normalize("NFC", run.group())
    if run.group("marked"):
        return "".join(map(_letters, found))
    if found.isalnum():  # no signs, so each letter is a character
        return f" {' '.join(_pairs(list(found)))} "
    characters = ["".join(map(_letters, each)) for each in _CHARACTERS.findall(found)]
    return f" {' '.join(_pairs(characters))} "


def _pairs(characters: list[str]) -> Iterator[str]:
    if len(characters) == 1:
        return iter(characters)
    return (first + second for first, second in itertools.pairwise(characters))


def _letters(character: str) -> str:
    """The character, or the digits of its code point if it is a sign at which the engine's tokenizer would cut the word."""
    if character.isalnum():
        return character
    return str(ord(character)) if unicodedata.category(character).startswith("M") else ""
