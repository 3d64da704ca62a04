"""Extracts readable text from a PDF, page by page, with PDFium; form values and what PDFium cannot open, with pypdf.

Text is read as far as it goes: a page without any is named, whatever the others hold. Knows nothing of folders or passages.

PDFium was chosen by 19 files of encrypted, damaged, turned and two-column text: word for word right were pypdf 17, PDFium 17
(both miss columns drawn by row), pdfplumber 11, pdfminer.six with its layout analysis 15, PDFium with the layout of `pdf_layout`
19. CPU per page: 5, 1, 129, 40 and 20 ms. PyMuPDF's licence (AGPL) does not suit.
"""

from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval import ocr
from lorag.pipeline.retrieval.file_content import Extracted
from lorag.pipeline.retrieval.pdf_forms import form_values
from lorag.pipeline.retrieval.pdf_layout import Line, Run, page_lines
from lorag.pipeline.retrieval.pdf_paragraphs import laid_out
from lorag.pipeline.retrieval.running import without_running
from lorag.pipeline.retrieval.titles import useful_title

MAX_PAGES = 10_000
_STAMP = re.compile(
    r"\W*(?:(?:scanned|created|made|digiti[sz]ed|generated) (?:with|by|using|from|in)\b.{0,60}|camscanner)\W*", re.IGNORECASE
)
_OBJECT = re.compile(rb"(\d+)\s+\d+\s+obj\b")
_CATALOG = re.compile(rb"/Type\s*/Catalog\b")
_NAMED = 8
"""Ranges of pages that a note names."""
_LOCK = threading.Lock()
"""PDFium must not run in two threads at once, not even on two files."""


@dataclass(frozen=True, slots=True)
class _Page:
    """`picture`: the page shows something. `broken`: it cannot be read, or shows nothing. `drawn`: read from its picture.
    `fields` are the values of its form."""

    lines: tuple[Line, ...] = ()
    picture: bool = False
    broken: bool = False
    drawn: bool = False
    fields: tuple[str, ...] = ()


def extract(data: bytes, name: str) -> Extracted:
    """Title from the file's own information (empty if of no use), text of all pages, and where each begins.

    Running heads and feet are taken out of the pages; what they say stands once, at the beginning and the end. Values of form
    fields stand at the end of their page. Pages without text, such as scans, are read by an OCR program if there is one, or else
    named.

    Raises:
        InputError: damaged, encrypted, or without any text (a scan).
    """
    with _LOCK, _quiet():
        title, pages = _read(data, name)
    running = without_running([page.lines for page in pages])
    kept = [
        [line for line in lines if not (page.picture and _STAMP.fullmatch(line.text))]
        for page, lines in zip(pages, running.pages, strict=True)
    ]
    missing = _missing(pages, kept)
    if not any(kept) and not any(page.fields for page in pages):
        if not any(page.picture for page in pages):
            raise InputError(f"{name}: PDF without anything that can be read, empty or damaged; export it again")
        raise InputError(f"{name}: PDF without text, probably a scan: {ocr.advice()}")
    filled = [[*lines, *_stacked(page.fields, lines)] for page, lines in zip(pages, kept, strict=True)]
    body, starts = laid_out(list(enumerate(filled, start=1)))
    head, foot = ("\n".join(text for text in texts if not _STAMP.fullmatch(text)) for texts in (running.heads, running.feet))
    before = f"{head}\n\n" if head and body else head
    shifted = tuple(replace(start, offset=start.offset + len(before) if start.number > 1 else 0) for start in starts)
    text = f"{before}{body}\n\n{foot}" if foot else f"{before}{body}"
    return Extracted(useful_title(title), text, pages=shifted, missing=missing, notes=_notes(pages))


def _read(data: bytes, name: str) -> tuple[str, list[_Page]]:
    """The title and the pages, by PDFium, or else by pypdf. Raises InputError."""
    import pypdfium2 as pdfium

    if b"%PDF-" not in data[:1024]:
        raise InputError(f"{name}: its content is no PDF, whatever its name says; save it anew, or rename it")
    reason = ""
    for attempt in (data, _mended(data)):
        try:
            document = pdfium.PdfDocument(attempt)
        except pdfium.PdfiumError as error:
            if "password" in str(error).lower():
                raise InputError(f"{name}: encrypted PDF; save it without a password") from error
            reason = str(error)
            continue
        with closing(document):
            if len(document) > MAX_PAGES:
                raise InputError(f"{name}: has {len(document)} pages; {MAX_PAGES} are the most: split it")
            fields = _fields(attempt) if document.get_formtype() else {}
            title = str(document.get_metadata_value("Title") or "")
            return title, [replace(_page(document, at), fields=fields.get(at + 1, ())) for at in range(len(document))]
    return _by_pypdf(data, name, reason)


def _page(document: Any, at: int) -> _Page:
    import pypdfium2 as pdfium

    try:
        with closing(document[at]) as page, closing(page.get_textpage()) as text_page:
            lines = tuple(page_lines(text_page))
            picture = any(True for _ in page.get_objects(max_depth=2))
            if lines and not all(_STAMP.fullmatch(line.text) for line in lines):
                return _Page(lines, picture)
            if not (picture and ocr.is_available()):
                return _Page(lines, picture, broken=not picture and not lines)
            text = ocr.read(page.render(scale=ocr.DOTS / 72).to_pil())
            return _Page(tuple(_stacked(text.split("\n"), ())), picture, drawn=bool(text))
    except pdfium.PdfiumError:
        return _Page(broken=True)


def _by_pypdf(data: bytes, name: str, reason: str) -> tuple[str, list[_Page]]:
    from pypdf import PdfReader

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise InputError(f"{name}: encrypted PDF; save it without a password")
        texts = [page.extract_text() for page in reader.pages]
        return str((reader.metadata and reader.metadata.title) or ""), [_Page(tuple(_stacked(t.split("\n"), ()))) for t in texts]
    except InputError:
        raise
    except Exception as error:  # pypdf raises many classes for damaged files
        raise InputError(f"{name}: damaged PDF ({reason or error}); export it again") from error


def _mended(data: bytes) -> bytes:
    """The file with a new trailer that names its catalogue: one whose end is missing can then be read as far as it goes."""
    objects = list(_OBJECT.finditer(data))
    ends = [*(each.start() for each in objects[1:]), len(data)]
    found = [each[1] for each, end in zip(objects, ends, strict=False) if _CATALOG.search(data, each.start(), end)]
    if not found:
        return data
    return data + b"\nendstream\nendobj\ntrailer\n<< /Root " + found[-1] + b" 0 R >>\nstartxref\n0\n%%EOF\n"


def _fields(data: bytes) -> Mapping[int, tuple[str, ...]]:
    """The values of the form, none if it cannot be read: the text around it still can."""
    try:
        return form_values(data)
    except Exception:  # pypdf raises many classes for damaged files
        return {}


def _stacked(texts: Sequence[str], above: Sequence[Line]) -> Iterator[Line]:
    """Texts without places as lines, one below the other, from the last of `above` on."""
    y, size = (above[-1].y, above[-1].size) if above else (0.0, 12.0)
    for number, text in enumerate(texts, start=1):
        if shown := " ".join(text.replace("\0", "").split()):
            yield Line((Run(shown, 0.0, float(len(shown))),), y - 1.2 * size * number, size)


def _missing(pages: Sequence[_Page], kept: Sequence[Sequence[Line]]) -> tuple[str, ...]:
    """What could not be read of a file that has text: scans and damaged pages, by their numbers."""
    scans = [number for number, (page, lines) in enumerate(zip(pages, kept, strict=True), 1) if page.picture and not lines]
    broken = [number for number, page in enumerate(pages, 1) if page.broken]
    lost = []
    if scans:
        lost.append(f"{_named(scans, len(pages))} without text, probably scanned: {ocr.advice()}")
    if broken:
        lost.append(f"{_named(broken, len(pages))} empty or damaged")
    return tuple(lost)


def _notes(pages: Sequence[_Page]) -> tuple[str, ...]:
    drawn = [number for number, page in enumerate(pages, 1) if page.drawn]
    return (f"{_named(drawn, len(pages))} read by text recognition (OCR)",) if drawn else ()


def _named(numbers: Sequence[int], count: int) -> str:
    """`pages 2-10 of 10`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges[:_NAMED])
    more = f" and {len(ranges) - _NAMED} more ranges" if len(ranges) > _NAMED else ""
    return f"page{'' if len(numbers) == 1 else 's'} {shown}{more} of {count}"


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
