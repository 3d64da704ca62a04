"""The embedder's contract: the text of a query and of a passage."""

from __future__ import annotations

import pytest

from lorag.pipeline.contracts import embed


@pytest.mark.parametrize(
    ("question", "text"), [("When?", "When?"), (" When\n does\tit leave? ", "When does it leave?"), ("", "")]
)
def test_query(question: str, text: str) -> None:
    assert embed.query_text(question) == text


@pytest.mark.parametrize(
    ("title", "section", "text", "expected"),
    [
        ("Ferries", "Times > Sunday", "At 07:40.", "Ferries > Times > Sunday\nAt 07:40."),
        ("Ferries", "", "At 07:40.", "Ferries\nAt 07:40."),
        ("", "Times", "At 07:40.", "Times\nAt 07:40."),
        ("", "", " At\n07:40. ", "At\n07:40."),
        ("Ferry\ntimes", " Sunday ", "x", "Ferry times > Sunday\nx"),
    ],
)
def test_passage(title: str, section: str, text: str, expected: str) -> None:
    assert embed.passage_text(title, section, text) == expected
