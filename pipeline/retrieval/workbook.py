"""Reads .xlsx workbooks with openpyxl: a heading a sheet, and its cells as tables. Knows nothing of folders."""

from __future__ import annotations

import datetime
import io
import re
import warnings
from typing import Any

from lorag.pipeline.retrieval.file_content import Extracted
from lorag.pipeline.retrieval.tables import sheet
from lorag.pipeline.retrieval.titles import useful_title
from lorag.pipeline.retrieval.zip_limits import open_archive, parsing

MAX_ROWS, MAX_COLUMNS = 100_000, 500
"""Of a sheet. What lies beyond is said. Empty rows and columns do not count."""
MAX_SEEN = 5_000_000
"""Cells of a sheet that are looked at, empty ones too: formats alone can fill millions."""
_UNCOUNTED = re.compile(rb"</f>\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")


def extract(data: bytes, name: str) -> Extracted:
    """All sheets, hidden ones too. Formulas give the values that were last computed.

    Raises:
        InputError: damaged, protected, or no workbook.
    """
    from openpyxl import load_workbook

    archive = open_archive(data, name)
    sheets = [member for member in archive.namelist() if member.startswith("xl/worksheets/") and member.endswith(".xml")]
    with parsing(name, "damaged workbook"):
        uncounted = sum(len(_UNCOUNTED.findall(archive.read(member))) for member in sheets)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions that do not matter here
            book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            parts, missing = [], []
            for page in book.worksheets:
                rows, lost = _rows(page)
                missing += [f"sheet {page.title}: {each}" for each in lost]
                if text := sheet(rows):
                    parts.append(f"## {' '.join(page.title.split())}\n\n{text}")
            title = str(book.properties.title or "")
            book.close()
    if uncounted:
        missing.append(f"{uncounted} formulas without a stored value: open it in a spreadsheet program and save it")
    return Extracted(useful_title(title), "\n\n".join(parts), missing=tuple(missing))


def _rows(page: Any) -> tuple[list[list[str]], list[str]]:
    """The cells as text, and what was left out."""
    rows: list[list[str]] = []
    filled = empty = seen = 0
    wide = False
    page.reset_dimensions()  # the stated size may be wrong, or a million rows
    for row in page.iter_rows():
        seen += max(len(row), 1)
        if seen > MAX_SEEN:
            return rows, [f"what comes after the first {MAX_SEEN} cells left out: split it"]
        cells = [_shown(cell) for cell in row[:MAX_COLUMNS]]
        wide = wide or any(cell.value is not None for cell in row[MAX_COLUMNS:])
        if not any(cells):
            empty += 1
            if empty == 1:
                rows.append([])
            continue
        if filled == MAX_ROWS:
            return rows, [f"rows after the first {MAX_ROWS} left out: split it"]
        filled, empty = filled + 1, 0
        rows.append(cells)
    return rows, [f"columns after the first {MAX_COLUMNS} left out"] if wide else []


def _shown(cell: Any) -> str:
    """A value as a reader of the sheet sees it, roughly: dates in ISO form, percentages, no superfluous `.0`."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ", "minutes")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, int | float):
        return f"{round(value * 100, 6):.12g}%" if "%" in str(cell.number_format) else f"{value:.12g}"
    return str(value)
