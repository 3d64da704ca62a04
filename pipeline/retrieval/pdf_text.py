"""Extracts readable text from a PDF: its lines, with paragraphs and headings inferred from line lengths.

A PDF has hardly any structure, so this is a heuristic. It changes line breaks and marks headings, never words.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lorag.pipeline.errors import InputError

_PAGE_NUMBER = re.compile(r"\W*(?:page\s+)?\d{1,4}(?:\s*(?:/|of)\s*\d{1,4})?\W*$", re.IGNORECASE)
_ITEM = re.compile(r"\s*(?:[-*•‣▪–]|\(?[a-z][.)]|\d{1,3}[.)])\s+\S")
_OPENS = re.compile(r"[\"'“‘(]*[A-Z0-9À-ÖØ-Þ]")
_NUMBERED = re.compile(r"\s*\d{1,2}(?:\.\d{1,2})*[.)]?\s+[A-ZÀ-ÖØ-Þ]")
_STOPS = (".", "!", "?", ":", ";", ".)", ".”", '."', "…")
_LONGEST_HEADING = 80


def extract(data: bytes, name: str) -> tuple[str, str]:
    """Title from the file's own information (empty if none) and text of all pages.

    Lines keep their breaks; a paragraph ends with a blank line; a heading is a `## ` line. Bare page numbers are dropped.

    Raises:
        InputError: damaged, encrypted, or without any text (a scan).
    """
    with _quiet():
        try:
            from pypdf import PdfReader

            reader = PdfReader(io.BytesIO(data))
            if reader.is_encrypted and not reader.decrypt(""):
                raise InputError(f"{name}: encrypted PDF; save it without a password")
            pages = [page.extract_text() for page in reader.pages]
            title = str((reader.metadata and reader.metadata.title) or "").strip()
        except InputError:
            raise
        except Exception as error:  # pypdf raises many classes for damaged files
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise InputError(f"{name}: damaged PDF ({reason}); export it again") from error
    lines = [_body(page) for page in pages]
    text = "\n".join(_laid_out([line for page in lines for line in page]))
    if not text.strip():
        raise InputError(f"{name}: PDF without text, probably a scan; run text recognition (OCR) on it first")
    return title, text.strip()


def _body(page: str) -> list[str]:
    """The lines of a page without a page number at its foot or head."""
    # Broken font tables give lone surrogates and NULs, which cannot be stored.
    lines = [line.rstrip() for line in page.replace("\0", "").encode("utf-8", "replace").decode().splitlines()]
    while lines and (not lines[-1] or _PAGE_NUMBER.match(lines[-1])):
        lines.pop()
    while lines and (not lines[0] or _PAGE_NUMBER.match(lines[0])):
        lines.pop(0)
    return lines


def _laid_out(lines: Sequence[str]) -> Iterator[str]:
    lengths = sorted(len(line) for line in lines if line.strip())
    full = lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0
    fresh, listed = True, False
    for number, line in enumerate(lines):
        following = next((other for other in lines[number + 1 :][:2] if other.strip()), "")
        if not line.strip():
            if not fresh:
                yield ""
            fresh = True
        elif fresh and _is_heading(line, following, full):
            yield f"## {line.strip()}"
            yield ""
            listed = False
        else:
            yield line
            listed = bool(_ITEM.match(line)) or (listed and not fresh)
            fresh = _ends_paragraph(line, following, full)
            if fresh and not (listed and _ITEM.match(following)):
                yield ""


def _is_heading(line: str, following: str, full: int) -> bool:
    """A short line without end punctuation that begins like a heading, above a full line, or above any line if it is numbered."""
    short = len(line) <= min(0.7 * full, _LONGEST_HEADING)
    if not following or not short or line.endswith((*_STOPS, ",", "-")):
        return False
    if _NUMBERED.match(line):
        return not _NUMBERED.match(following)
    full_below = len(following) >= 0.75 * full and _OPENS.match(following.strip())
    return bool(_OPENS.match(line.strip()) and full_below)


def _ends_paragraph(line: str, following: str, full: int) -> bool:
    if not following:
        return True
    if _ITEM.match(following) and following.lstrip()[0] not in "(":
        return line.endswith(_STOPS)
    return len(line) < 0.85 * full and line.endswith(_STOPS) and bool(_OPENS.match(following.strip()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Within: pypdf does not log the damage that it repairs, which users cannot act on."""
    logger = logging.getLogger("pypdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
