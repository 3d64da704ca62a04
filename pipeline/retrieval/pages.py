"""On which page a place of a text is. Knows no kinds of files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from lorag.pipeline.records import PageStart


def page_at(pages: Sequence[PageStart], offset: int) -> int | None:
    """The number of the page that holds `offset`, None if there are no pages. A page without text holds none."""
    if not pages:
        return None
    return pages[max(bisect_right(pages, offset, key=lambda page: page.offset) - 1, 0)].number


def pages_within(pages: Sequence[PageStart], start: int, end: int) -> tuple[PageStart, ...]:
    """The pages that `start:end` of a text touches, with offsets counted from `start`; the first is 0. Pages without text are not
    among them."""
    first = page_at(pages, start)
    if first is None:
        return ()
    ends = [*(page.offset for page in pages[1:]), max(end, pages[-1].offset + 1)]
    later = [page for page, stop in zip(pages, ends, strict=True) if start < page.offset < min(end, stop)]
    return (PageStart(first, 0), *(PageStart(page.number, page.offset - start) for page in later))
