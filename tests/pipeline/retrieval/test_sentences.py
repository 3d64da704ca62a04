"""Sentence borders on a table of cases; `¦` marks where one ends."""

from __future__ import annotations

import pytest

from lorag.pipeline.retrieval.sentences import sentences


@pytest.mark.parametrize(
    "marked",
    [
        "One.¦ Two!¦ Three?¦ Four",
        "It is 24.0 m long.¦ Wait.",
        "Ask Mr. Holt or Dr. Moss.¦ They know.",
        "See No. 5 and fig. 2.¦ Then go.",
        "Signed by J. R. Brask.¦ Kept by him.",
        "Ropes, e.g. Halloran, i.e. ours.¦ Chains etc. are kept.¦ Others etc.¦ Not those.",
        "Open 9 a.m. to 5 p.m. daily.¦ At 5 p.m.¦ Wait, no.",
        "He said “Stop.”¦ Then (quietly.)¦ She left…¦ “Go!” they said.",
        "Really?!¦ Yes.",
        "First line\ngoes on here.¦ Second.",
        "A paragraph without a stop\n\n¦Another one",
        "- one\ngoes on.¦ Two\n¦- three\n¦1. Break the glass.¦ Pull.\n¦2. Go",
        "| a. B | c |\n¦| d | e |\n¦After the table.¦ Yes.",
        "## Heading\n¦Text follows.",
        "船が出ます。¦待ちます。¦",
        "Version 3.1.4 is out.¦ Use it.",
        "Issued 3 Feb. 2026 by us.¦ Done.",
    ],
)
def test_borders(marked: str) -> None:
    text = marked.replace("¦", "")
    found = [text[start:end] for start, end in sentences(text)]
    assert found == [part.strip() for part in marked.split("¦") if part.strip()]


@pytest.mark.parametrize("text", ["", " \n ", "...", "a.b.c", "x. ", "\n\n- \n|\n", "No.", "E.g.\n\n\nU.S."])
def test_all_that_is_not_space_is_in_exactly_one_sentence(text: str) -> None:
    spans = sentences(text)
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())
    assert all(text[start:end] == text[start:end].strip() and start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))
