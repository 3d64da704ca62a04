"""On which page a place of a text is."""

from __future__ import annotations

import pytest

from lorag.pipeline.records import PageStart
from lorag.pipeline.retrieval.pages import page_at, pages_within

# Page 2 has no text, page 4 none either and is the last.
PAGES = (PageStart(1, 0), PageStart(2, 40), PageStart(3, 40), PageStart(4, 90))


@pytest.mark.parametrize(("offset", "page"), [(0, 1), (39, 1), (40, 3), (89, 3), (90, 4)])
def test_the_page_of_a_place(offset: int, page: int) -> None:
    assert page_at(PAGES, offset) == page
    assert page_at((), offset) is None


@pytest.mark.parametrize(
    ("start", "end", "pages"),
    [(0, 40, [(1, 0)]), (10, 41, [(1, 0), (3, 30)]), (40, 90, [(3, 0)]), (50, 60, [(3, 0)]), (0, 90, [(1, 0), (3, 40)])],
)
def test_the_pages_of_a_span_without_empty_ones(start: int, end: int, pages: list[tuple[int, int]]) -> None:
    assert [(page.number, page.offset) for page in pages_within(PAGES, start, end)] == pages
    assert pages_within((), start, end) == ()
