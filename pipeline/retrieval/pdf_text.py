"""Readable text out of a PDF: its lines, with headings and paragraphs found again from type size, weight and line spacing.

A PDF holds no structure to speak of, so this infers it; where a file says nothing of its type, from line lengths. A wrong guess
moves line breaks or marks a heading, it never changes words.
"""

from __future__ import annotations

import io
import logging
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.errors import InputError

_PAGE_NUMBER = re.compile(r"\W*(?:page\s+)?\d{1,4}(?:\s*(?:/|of)\s*\d{1,4})?\W*$", re.IGNORECASE)
_ITEM = re.compile(r"\s*(?:[-*•‣▪–]|\(?[a-z][.)]|\d{1,3}[.)])\s+\S")
_NUMBERED = re.compile(r"\s*\d{1,2}(?:\.\d{1,2})*[.)]?\s+[A-ZÀ-ÖØ-Þ]")
_OPENS = re.compile(r"[\"'“‘(]*[A-Z0-9À-ÖØ-Þ]")
_BLANKS = re.compile(r"\n{3,}")
_STOPS = (".", "!", "?", ":", ";", ".)", ".”", '."', "…")
_LONGEST_HEADING = 120


@dataclass(frozen=True, slots=True)
class _Line:
    """`size` in points as shown, `height` above the page's foot; 0 where the file does not tell."""

    text: str
    size: float = 0.0
    bold: bool = False
    height: float = 0.0
    page: int = 0

    @property
    def style(self) -> tuple[float, bool]:
        return self.size, self.bold


def extract(data: bytes, name: str) -> tuple[str, str]:
    """Title from the file's own information (empty if none) and text of all pages.

    Lines keep their breaks; a paragraph ends with a blank line; a heading is a `#`, `##` or `###` line. Bare page numbers at head
    and foot are dropped.

    Raises:
        InputError: damaged, encrypted, or without any text (a scan).
    """
    with _quiet():
        try:
            from pypdf import PdfReader

            reader = PdfReader(io.BytesIO(data))
            if reader.is_encrypted and not reader.decrypt(""):
                raise InputError(f"{name}: encrypted PDF; save it without a password")
            lines = [line for number, page in enumerate(reader.pages) for line in _lines(page, number)]
            title = str((reader.metadata and reader.metadata.title) or "").strip()
        except InputError:
            raise
        except Exception as error:  # pypdf raises whatever the damage leads to
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise InputError(f"{name}: damaged PDF ({reason}); export it again") from error
    text = _BLANKS.sub("\n\n", "\n".join(_laid_out(lines))).strip()
    if not text:
        raise InputError(f"{name}: PDF without text, probably a scan; run text recognition (OCR) on it first")
    return title, text


def _lines(page: Any, number: int) -> list[_Line]:
    """The lines of a page with the type of their first visible character, without page numbers at head and foot."""
    pieces: list[tuple[str, float, bool, float]] = []

    def visit(text: str, user: Sequence[float], matrix: Sequence[float], font: Any, points: float) -> None:
        shown = abs(points * (matrix[3] or 1) * (user[3] or 1))
        bold = "bold" in str((font or {}).get("/BaseFont", "")).lower()
        pieces.append((text, round(shown, 1), bold, float(matrix[5]) * (user[3] or 1) + float(user[5])))

    whole = page.extract_text(visitor_text=visit)
    if "".join(piece[0] for piece in pieces) != whole:
        pieces = [(whole, 0.0, False, 0.0)]
    lines: list[_Line] = []
    unknown = (0.0, False, 0.0)
    held, style = "", unknown
    for text, size, bold, height in [*pieces, ("\n", *unknown)]:
        for part in text.splitlines(keepends=True):
            if part.strip() and not held.strip():
                style = (size, bold, height)
            held += part
            if part.endswith(("\n", "\r")):
                lines.append(_Line(_storable(held), *style, page=number))
                held, style = "", unknown
    while lines and (not lines[-1].text or _PAGE_NUMBER.match(lines[-1].text)):
        lines.pop()
    while lines and (not lines[0].text or _PAGE_NUMBER.match(lines[0].text)):
        lines.pop(0)
    return lines


def _storable(text: str) -> str:
    """Lone surrogates and NULs come out of broken font tables and no store takes them."""
    return text.replace("\0", "").encode("utf-8", "replace").decode().rstrip()


@dataclass(frozen=True, slots=True)
class _Layout:
    """What is usual in a document: length of a full line, body type, heading marks by type, baseline distance (0: unknown)."""

    full: int
    body: tuple[float, bool]
    marks: dict[tuple[float, bool], str]
    spacing: float


def _layout(lines: Sequence[_Line]) -> _Layout:
    shown = [line for line in lines if line.text]
    lengths = sorted(len(line.text) for line in shown)
    weights: Counter[tuple[float, bool]] = Counter()
    for line in shown:
        weights[line.style] += len(line.text)
    body = weights.most_common(1)[0][0] if weights else (0.0, False)
    larger = sorted((s for s in weights if s[0] > 1.05 * body[0] or (s[1] and not body[1] and s[0] >= body[0])), reverse=True)
    # With one kind of heading none of them is known to be the title.
    first = 1 if len(larger) > 1 else 2
    marks = {style: "#" * min(first + rank, 3) for rank, style in enumerate(larger)}
    gaps = [gap for before, after in zip(shown, shown[1:], strict=False) if (gap := _gap(before, after)) > 0]
    return _Layout(
        lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0, body, marks, statistics.median(gaps) if gaps else 0.0
    )


def _gap(before: _Line, after: _Line) -> float:
    """Distance of baselines in points, 0 where it is not known or the lines do not follow each other down a page."""
    return max(before.height - after.height, 0.0) if before.page == after.page and before.height and after.height else 0.0


def _laid_out(lines: Sequence[_Line]) -> Iterator[str]:
    layout = _layout(lines)
    fresh, listed, position = True, False, 0
    while position < len(lines):
        line = lines[position]
        position += 1
        following = next((other for other in lines[position : position + 2] if other.text), _Line(""))
        mark = _heading_mark(line, following, layout, fresh) if line.text else ""
        if mark:
            text = line.text.strip()
            while (
                position < len(lines)
                and lines[position].text
                and line.style in layout.marks
                and lines[position].style == line.style
            ):
                if _gap(line, lines[position]) > 1.5 * line.size:
                    break
                text += f" {lines[position].text.strip()}"
                line, position = lines[position], position + 1
            yield from ("", f"{mark} {text}", "")
            fresh, listed = True, False
        elif not line.text:
            yield ""
            fresh = True
        else:
            yield line.text
            listed = bool(_ITEM.match(line.text)) or (listed and not fresh)
            fresh = _ends_paragraph(line, following, layout)
            if fresh and not (listed and _ITEM.match(following.text)):
                yield ""


def _heading_mark(line: _Line, following: _Line, layout: _Layout, fresh: bool) -> str:
    """`#` signs for a heading, else nothing: by its type where headings have their own, by its length and what follows if not."""
    if len(line.text) > _LONGEST_HEADING or line.text.endswith((",", ";")):
        return ""
    if layout.marks:
        return layout.marks.get(line.style, "")
    short = len(line.text) <= 0.7 * layout.full and not line.text.endswith((*_STOPS, "-"))
    if not (fresh and short and following.text):
        return ""
    if _NUMBERED.match(line.text):
        return "" if _NUMBERED.match(following.text) else "##"
    full_below = len(following.text) >= 0.75 * layout.full and _OPENS.match(following.text.strip())
    return "##" if full_below and _OPENS.match(line.text.strip()) else ""


def _ends_paragraph(line: _Line, following: _Line, layout: _Layout) -> bool:
    if not following.text:
        return True
    if layout.spacing and _gap(line, following) > 1.25 * layout.spacing:
        return True
    if _ITEM.match(following.text) and following.text.lstrip()[0] != "(":
        return line.text.endswith(_STOPS)
    return len(line.text) < 0.85 * layout.full and line.text.endswith(_STOPS) and bool(_OPENS.match(following.text.strip()))


@contextmanager
def _quiet() -> Iterator[None]:
    """pypdf logs each oddity it repairs; the reader of our messages can do nothing with those."""
    logger = logging.getLogger("pypdf")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
