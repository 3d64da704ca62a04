"""Reads .pptx with python-pptx: slide by slide, with title, texts, tables, charts and the speaker's notes. Knows nothing of
folders."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from lorag.pipeline.records import PageStart
from lorag.pipeline.retrieval.file_content import Extracted
from lorag.pipeline.retrieval.tables import table
from lorag.pipeline.retrieval.titles import useful_title
from lorag.pipeline.retrieval.zip_limits import open_archive, parsing

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"


def extract(data: bytes, name: str) -> Extracted:
    """All slides, hidden ones too; each is a page. Slides that show pictures alone are named.

    Raises:
        InputError: damaged, protected, or no presentation.
    """
    from pptx import Presentation

    open_archive(data, name).close()
    pages: list[PageStart] = []
    bare: list[int] = []
    text = first = ""
    with parsing(name, "damaged, or no presentation"):
        presentation = Presentation(io.BytesIO(data))
        for number, slide in enumerate(presentation.slides, start=1):
            heading, body = _slide(slide)
            first = first or (heading if number == 1 else "")
            text = f"{text}\n\n" if text and (heading or body) else text
            pages.append(PageStart(number, len(text)))
            text += "\n\n".join(part for part in (f"## {heading}" if heading else "", body) if part)
            if not heading and not body and len(slide.shapes):
                bare.append(number)
        title = str(presentation.core_properties.title or "")
    missing = (f"slides {', '.join(map(str, bare))} show only pictures; write down what they say",) if bare else ()
    return Extracted(useful_title(title) or first, text, pages=tuple(pages), missing=missing)


def _slide(slide: Any) -> tuple[str, str]:
    """Its title in one line, and everything else from top to bottom."""
    title = slide.shapes.title
    heading = " ".join(title.text_frame.text.split()) if title is not None else ""
    others = [shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id]
    others.sort(key=lambda shape: (shape.top or 0, shape.left or 0))
    parts = [part for shape in others for part in _shape(shape)]
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        parts.append(f"Notes: {notes}" if notes else "")
    return heading, "\n\n".join(part for part in parts if part.strip())


def _shape(shape: Any) -> Iterator[str]:
    if hasattr(shape, "shapes"):  # a group
        for each in shape.shapes:
            yield from _shape(each)
    elif getattr(shape, "has_table", False):
        yield table([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif getattr(shape, "has_chart", False):
        yield _chart(shape.chart)
    elif getattr(shape, "has_text_frame", False):
        yield _frame(shape.text_frame)
    else:
        yield _diagram(shape)


def _frame(frame: Any) -> str:
    """Paragraphs of a text frame; if there are several, they are the items of a list, as slides have them."""
    found = [(each.level, " ".join(each.text.split())) for each in frame.paragraphs]
    found = [(level, text) for level, text in found if text]
    return found[0][1] if len(found) == 1 else "\n".join(f"{'  ' * level}- {text}" for level, text in found)


def _chart(chart: Any) -> str:
    """A chart as the table of its values."""
    plot = next(iter(chart.plots), None)
    if plot is None:
        return ""
    title = chart.chart_title.text_frame.text if chart.has_title and chart.chart_title.has_text_frame else ""
    series = list(plot.series)
    rows = [["", *(each.name or "" for each in series)]]
    for at, category in enumerate(plot.categories):
        rows.append([str(category), *(_number(each.values, at) for each in series)])
    return "\n\n".join(part for part in (" ".join(title.split()), table(rows)) if part)


def _number(values: Any, at: int) -> str:
    return f"{values[at]:.12g}" if at < len(values) and values[at] is not None else ""


def _diagram(shape: Any) -> str:
    """The texts of a SmartArt diagram, which lie in a part of their own; '' for anything else."""
    from pptx.oxml import parse_xml

    ids = [
        value
        for each in shape._element.iter()
        if each.tag.endswith("}relIds")
        for key, value in each.items()
        if key.endswith("}dm")
    ]
    roots = [parse_xml(shape.part.related_part(each).blob) for each in ids]
    return "\n".join(f"- {text}" for root in roots for each in root.iter(f"{_A}p") if (text := _runs(each)))


def _runs(paragraph: Any) -> str:
    return " ".join("".join(run.text or "" for run in paragraph.iter(f"{_A}t")).split())
