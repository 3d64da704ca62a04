"""Reads .csv and .tsv as one table. Knows nothing of folders."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator

from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval.file_content import Extracted
from lorag.pipeline.retrieval.tables import sheet

MAX_ROWS = 100_000
"""Rows that are read; the number of the others is said."""
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50


def extract(text: str, name: str, delimiter: str = "") -> Extracted:
    """The rows as a Markdown table whose header is the first row. Without `delimiter` it is found: comma, semicolon, tab or bar.

    A first line `sep=;`, as Excel writes it, is followed. A file of one column is plain lines.

    Raises:
        InputError: a cell is larger than csv admits, which a quote that is never closed makes.
    """
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        text, delimiter = rest, first.strip()[4]
    found = delimiter or _delimiter(text)
    rows = csv.reader(text.splitlines(keepends=True), delimiter=found)
    try:
        read = list(itertools.islice(rows, MAX_ROWS))
        left = sum(1 for _ in rows)
    except csv.Error as error:
        raise InputError(f"{name}: line {rows.line_num}: {error}; is a quote open before it?") from error
    missing = (f"{left} rows after the first {MAX_ROWS} left out: split it",) if left else ()
    return Extracted("", sheet(read), missing=missing)


def _delimiter(text: str) -> str:
    """The delimiter that cuts the most lines into the same number of cells, more than one; a comma if none does."""
    lines = [line for line in itertools.islice(_lines(text), _SAMPLE_LINES) if line.strip()]
    best, most = ",", (0, 0)
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        except csv.Error:
            continue
        wide = [width for width in widths if width > 1]
        if not wide:
            continue
        common = max(set(wide), key=wide.count)
        if (score := (wide.count(common), common)) > most:
            best, most = delimiter, score
    return best


def _lines(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        yield text[start:end]
        start = end
