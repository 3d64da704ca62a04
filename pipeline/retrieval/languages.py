"""Which languages a corpus is in, by py3langid (the method is that of langid.py, Lui and Baldwin 2012).

Works offline, on samples of the texts. Knows nothing of encoders or settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import regex

LEAST_SHARE = 0.1
"""Share of the letters from which a language is named: below it are names, quotations and errors of the detection."""

TEXTS = 500
"""Texts that are looked at, at most."""

_PIECE = 400
"""Characters from the beginning, the middle and the end of a text."""

_SAMPLE = 2000
_LATIN = regex.compile(r"[\p{Script=Latin}\p{M}]+(?:['’-][\p{Script=Latin}\p{M}]+)*")
_OTHER = regex.compile(r"[[\p{L}\p{M}]--\p{Script=Latin}]+", regex.V1)
_NO_PROSE = regex.compile(r"\S*://\S*|[A-Za-z0-9+/=_-]{40,}")
"""Links and data."""

_LEAST = {_LATIN: 40, _OTHER: 5}
"""Letters from which the language of a text can be told, by script."""

NAMES = {
    "ar": "Arabic", "az": "Azerbaijani", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian",
    "hy": "Armenian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh", "km": "Khmer",
    "kn": "Kannada", "ko": "Korean", "lo": "Lao", "lt": "Lithuanian", "lv": "Latvian", "ml": "Malayalam", "mr": "Marathi",
    "ms": "Malay", "my": "Burmese", "nb": "Norwegian", "ne": "Nepali", "nl": "Dutch", "nn": "Norwegian", "no": "Norwegian",
    "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "si": "Sinhala", "sk": "Slovak",
    "sl": "Slovene", "sr": "Serbian", "sv": "Swedish", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LanguageShare:
    """`share` of the letters are in the language `name`; `sample` is some of its text."""

    name: str
    share: float
    sample: str


def languages(texts: Iterable[str]) -> tuple[LanguageShare, ...]:
    """The languages of `texts`, the most used first, without those of less than `LEAST_SHARE`.

    Each script of a text is looked at by itself, so that English words in a Chinese text count as English. Text without letters
    is in no language.
    """
    letters: Counter[str] = Counter()
    samples: dict[str, str] = {}
    for number, text in enumerate(texts):
        if number == TEXTS:
            break
        for name, part in _parts(text):
            letters[name] += len(part)
            if len(samples.setdefault(name, "")) < _SAMPLE:
                samples[name] += f"{part}\n"
    total = letters.total()
    return tuple(
        LanguageShare(name, count / total, samples[name]) for name, count in letters.most_common() if count >= LEAST_SHARE * total
    )


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """The language of each script's part of a sample of `text`, and that part."""
    identifier = _identifier()
    text = _NO_PROSE.sub(" ", text)
    middle = max(len(text) // 2 - _PIECE // 2, 0)
    pieces = (text[:_PIECE], text[middle : middle + _PIECE], text[-_PIECE:])
    sample = text if len(text) <= 3 * _PIECE else "\n".join(pieces)
    for script, least in _LEAST.items():
        part = " ".join(script.findall(sample))
        if len(part) >= least:
            yield NAMES[identifier.classify(part)[0]], part


@cache
def _identifier() -> Any:
    """The library's model, of the languages with a name here: it knows rare ones that short texts are taken for."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages([name for name in NAMES if name in identifier.nb_classes])
    return identifier
