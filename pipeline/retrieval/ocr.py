"""Text of a picture, by Tesseract if the program and the package `pytesseract` (the extra `ocr`) are installed.

Knows nothing of the files that pictures come from.
"""

from __future__ import annotations

import functools
import shutil
from importlib.util import find_spec
from typing import Any

SECONDS = 60
"""The longest time for a picture."""
DOTS = 200
"""Dots per inch of a page that is read: Tesseract needs letters of about 20 dots."""


@functools.cache
def is_available() -> bool:
    """Whether both the program `tesseract` and the package that calls it are there."""
    return shutil.which("tesseract") is not None and find_spec("pytesseract") is not None


def advice() -> str:
    """What a user can do about a page without text."""
    if is_available():
        return "Tesseract found no text in it; scan it anew"
    return "run text recognition (OCR) on it, or install Tesseract and `pip install 'lorag[ocr]'`"


def read(picture: Any) -> str:
    """The lines of text in a Pillow image, '' if there are none or it takes longer than `SECONDS`.

    Languages are those that Tesseract has installed data for, at most its first four.
    """
    import pytesseract

    try:
        return str(pytesseract.image_to_string(picture, lang=_languages(), timeout=SECONDS)).strip()
    except (RuntimeError, pytesseract.TesseractError):  # RuntimeError: the time is over
        return ""


@functools.cache
def _languages() -> str | None:
    import pytesseract

    known = [each for each in pytesseract.get_languages() if each not in ("osd", "equ")]
    known.sort(key=lambda each: each != "eng")
    return "+".join(known[:4]) or None
