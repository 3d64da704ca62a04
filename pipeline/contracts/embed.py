"""The embedder's contract: which text stands for a query and for a passage. Pure text."""

from __future__ import annotations

from lorag.pipeline.contracts.context import one_line


def query_text(question: str) -> str:
    """The text embedded for a (standalone) question."""
    return one_line(question)


def passage_text(title: str, section: str, text: str) -> str:
    """The text embedded for a passage: its headings carry the subject that its sentences leave out."""
    heading = " > ".join(part for part in (one_line(title), one_line(section)) if part)
    return f"{heading}\n{text.strip()}" if heading else text.strip()
