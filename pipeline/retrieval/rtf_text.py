"""Reads .rtf with striprtf. Headings are not marked in RTF; rows of tables are. Knows nothing of folders."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval.file_content import Extracted
from lorag.pipeline.retrieval.tables import table
from lorag.pipeline.retrieval.titles import useful_title

_TITLE = re.compile(r"\{\\title ((?:[^{}\\]|\\'[0-9a-fA-F]{2}|\\u-?\d+ ?.?)*)\}")


def extract(data: bytes, name: str) -> Extracted:
    """Paragraphs with blank lines between them, and tables whose header is their first row.

    Raises:
        InputError: no RTF.
    """
    from striprtf.striprtf import rtf_to_text

    if not data.lstrip().startswith(b"{\\rtf"):
        raise InputError(f"{name}: its content is no RTF, whatever its name says; save it anew, or rename it")
    raw = data.decode("latin-1")  # RTF is ASCII; what is not stands in its escapes
    raw = raw.replace("{\\footnote", "{ ")  # striprtf drops notes; so they stand where their mark is
    text = rtf_to_text(raw, errors="replace")
    found = _TITLE.search(raw, 0, 20_000)
    title = rtf_to_text(f"{{\\rtf1\\ansi {found[1]}}}", errors="replace") if found else ""
    return Extracted(useful_title(title), "\n\n".join(_blocks(text.split("\n"))))


def _blocks(lines: list[str]) -> Iterator[str]:
    """The lines as paragraphs; neighbouring lines of cells, which striprtf ends with a bar, as a table."""
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        if line.rstrip().endswith("|") and line.count("|") > 1:
            rows.append(line.rstrip().removesuffix("|").split("|"))
            continue
        if rows:
            yield table(rows)
            rows = []
        if line.strip():
            yield " ".join(line.split())
