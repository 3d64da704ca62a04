"""Rows of cells → Markdown tables, the one notation of tables for all kinds of files. Knows no kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Rows = Sequence[Sequence[str]]


def table(rows: Rows) -> str:
    """A Markdown table whose header is the first row; '' if no cell holds text.

    White space in a cell becomes one blank, `|` is escaped. Empty rows, and columns that are empty at the right, are left out.
    """
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    width = max((at + 1 for row in cells for at, cell in enumerate(row) if cell), default=0)
    if not width:
        return ""
    lines = [_row([*row, *[""] * width][:width]) for row in cells]
    lines.insert(1, _row(["---"] * width))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def sheet(rows: Rows) -> str:
    """A sheet of a workbook: its blocks, which empty rows part, as paragraphs and tables.

    Rows of one cell, above a block's first row of several, are its caption. A block of one column is a paragraph.
    """
    return "\n\n".join(part for block in _blocks(rows) for part in _parts(block) if part)


def _blocks(rows: Rows) -> Iterator[list[list[str]]]:
    block: list[list[str]] = []
    for row in rows:
        if any(cell.strip() for cell in row):
            block.append(list(row))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _parts(block: Rows) -> Iterator[str]:
    first = next((at for at, row in enumerate(block) if sum(bool(cell.strip()) for cell in row) > 1), len(block))
    yield "\n".join(" ".join(" ".join(row).split()) for row in block[:first])
    left = min((at for row in block[first:] for at, cell in enumerate(row) if cell.strip()), default=0)
    yield table([row[left:] for row in block[first:]])
