"""The embedder's contract: which text stands for a query and for a passage. Pure text.

Both are folded, so that a question finds a word however the file spells its letters. BM25 indexes the same texts.
"""

from __future__ import annotations

from lorag.pipeline.contracts.context import one_line
from lorag.pipeline.contracts.folding import fold


def query_text(question: str) -> str:
    """The text embedded for a (standalone) question."""
    return one_line(fold(question))


def passage_text(title: str, section: str, text: str) -> str:
    """The text embedded for a passage: its headings carry the subject that its sentences leave out."""
    heading = " > ".join(part for part in (one_line(fold(title)), one_line(fold(section))) if part)
    body = fold(text).strip()
    return f"{heading}\n{body}" if heading else body
