"""Reads .docx with python-docx: paragraphs, headings, lists, tables, text boxes and notes in the notation of Markdown.

python-docx opens the file; its body is walked here, since its own lists of paragraphs leave out text boxes, content controls and
tracked insertions. Deleted text and comments are no text. Knows nothing of folders.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from lorag.pipeline.retrieval.file_content import Extracted
from lorag.pipeline.retrieval.tables import table
from lorag.pipeline.retrieval.titles import useful_title
from lorag.pipeline.retrieval.zip_limits import open_archive, parsing

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_SKIPPED = frozenset({f"{_W}del", f"{_W}moveFrom", f"{_W}instrText", f"{_W}delText", _FALLBACK})
_BREAKS = {f"{_W}tab": " ", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_NOTES = ("footnotes", "endnotes")


def extract(data: bytes, name: str) -> Extracted:
    """The body, then footnotes and endnotes. Heads and feet of its pages stand once, at the beginning and the end.

    Raises:
        InputError: damaged, protected, or no Word document.
    """
    from docx import Document

    open_archive(data, name).close()
    with parsing(name, "damaged, or no Word document"):
        document = Document(io.BytesIO(data))
        styles = {style.style_id: _level(style) for style in document.styles if style.type == 1}
        body = list(_blocks(document.element.body, styles))
        notes = [text for part in _notes(document) for text in _blocks(part, {})]
        heads = _edges(document, "header")
        feet = _edges(document, "footer")
        title = str(document.core_properties.title or "")
    text = "\n\n".join([*heads, *_joined([*body, *notes]), *feet])
    first = next((each.lstrip("# ") for each in body if each.startswith("# ")), "")
    return Extracted(useful_title(title) or first, text)


def _level(style: Any) -> int:
    """The heading level of a paragraph style, 0 if it is none. The title is a heading of the first level."""
    kind = style.name.lower() if style.name else ""
    if kind == "title":
        return 1
    outline = style.element.find(f"{_W}pPr/{_W}outlineLvl")
    if outline is not None and outline.get(f"{_W}val", "9").isdigit():
        level = int(outline.get(f"{_W}val")) + 1
        return level if level <= 6 else 0
    return int(kind[8:]) if kind.startswith("heading ") and kind[8:].isdigit() and 0 < int(kind[8:]) <= 6 else 0


def _blocks(parent: Any, styles: dict[str, int]) -> Iterator[str]:
    """Paragraphs and tables below an element, in order; also those in content controls and text boxes."""
    for element in parent:
        if element.tag == f"{_W}p":
            yield from _paragraph(element, styles)
        elif element.tag == f"{_W}tbl":
            yield table([_cells(row) for row in element.iter(f"{_W}tr") if _parent(row, f"{_W}tbl") is element])
        elif element.tag not in _SKIPPED:
            yield from _blocks(element, styles)


def _paragraph(element: Any, styles: dict[str, int]) -> Iterator[str]:
    text = "\n".join(" ".join(line.split()) for line in "".join(_text(element)).split("\n")).strip()
    if text:
        style = element.find(f"{_W}pPr/{_W}pStyle")
        level = styles.get(style.get(f"{_W}val"), 0) if style is not None else 0
        listed = element.find(f"{_W}pPr/{_W}numPr") is not None or (style is not None and "List" in style.get(f"{_W}val", ""))
        if level:
            yield f"{'#' * level} {' '.join(text.split())}"
        else:
            yield f"- {text}" if listed else text
    for box in element.iter(f"{_W}txbxContent"):
        if not any(above.tag in _SKIPPED for above in box.iterancestors()) and _parent(box, f"{_W}p") is element:
            yield from _blocks(box, styles)


def _text(element: Any) -> Iterator[str]:
    """The characters of a paragraph, without those of text boxes in it."""
    for child in element:
        if child.tag == f"{_W}t":
            yield child.text or ""
        elif child.tag in _BREAKS:
            yield _BREAKS[child.tag]
        elif child.tag not in _SKIPPED and child.tag not in (f"{_W}txbxContent", f"{_W}pPr"):
            yield from _text(child)


def _cells(row: Any) -> list[str]:
    """The cells of a row. One that spans columns is followed by empty ones; tables in it are read as its text."""
    cells: list[str] = []
    for cell in row.iter(f"{_W}tc"):
        if _parent(cell, f"{_W}tr") is not row:
            continue
        cells.append(" ".join(" ".join("".join(_text(each)).split()) for each in cell.iter(f"{_W}p")).strip())
        span = cell.find(f"{_W}tcPr/{_W}gridSpan")
        cells += [""] * (min(int(span.get(f"{_W}val", "1")), 100) - 1 if span is not None else 0)
    return cells


def _parent(element: Any, tag: str) -> Any:
    return next(element.iterancestors(tag), None)


def _notes(document: Any) -> Iterator[Any]:
    from docx.oxml import parse_xml

    for relation in document.part.rels.values():
        if relation.reltype.rpartition("/")[2] in _NOTES:
            yield parse_xml(relation.target_part.blob)


def _edges(document: Any, kind: str) -> list[str]:
    """What the heads or feet of pages say, once each; fields such as the page's number are left out with their line."""
    said: dict[str, None] = {}
    for section in document.sections:
        for place in (getattr(section, kind), getattr(section, f"first_page_{kind}"), getattr(section, f"even_page_{kind}")):
            if not place.is_linked_to_previous:
                said |= dict.fromkeys(text for text in _blocks(place._element, {}) if any(each.isalpha() for each in text))
    return list(said)


def _joined(blocks: list[str]) -> Iterator[str]:
    """Neighbouring items of a list made one block."""
    items: list[str] = []
    for block in blocks:
        if block.startswith("- "):
            items.append(block)
            continue
        if items:
            yield "\n".join(items)
            items = []
        if block:
            yield block
    if items:
        yield "\n".join(items)
