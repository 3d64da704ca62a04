"""The text of an HTML page as it is written, with its map to the page. Knows no tags."""

from __future__ import annotations

from lorag.pipeline.records import Segment


class Writer:
    """Appends to the text and its map; line breaks, line prefixes and spaces are written only when text follows them."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.segments: list[Segment] = []
        self.breaks = 0
        self.lead = ""
        self.space: tuple[str, int | None] | None = None

    def gap(self) -> None:
        """A space before what is written next, unless a line break or a space is there already."""
        self.space = self.space or (" ", None)

    def pause(self, breaks: int) -> None:
        self.breaks = max(self.breaks, breaks)
        self.space = None

    def write(self, text: str, at: int | None) -> None:
        """Append `text`; `at` is its offset in the raw page, None if it is not there verbatim."""
        if self.breaks:
            if self.length:
                self._append("\n" * self.breaks, None)
            self.breaks, self.space = 0, None
        if self.lead:
            self._append(self.lead, None)
            self.lead, self.space = "", None
        if self.space and self.length:
            self._append(*self.space)
        self.space = None
        self._append(text, at)

    def _append(self, text: str, at: int | None) -> None:
        if at is not None:
            last = self.segments[-1] if self.segments else None
            if last and last.offset + last.length == self.length and last.source_start + last.length == at:
                self.segments[-1] = Segment(last.offset, last.source_start, last.length + len(text))
            else:
                self.segments.append(Segment(self.length, at, len(text)))
        self.parts.append(text)
        self.length += len(text)

    def result(self) -> tuple[str, tuple[Segment, ...]]:
        """Text and map. The map is not empty even if no character is verbatim: without a map, offsets would count in the page."""
        if self.length and not self.segments:
            self.segments.append(Segment(0, 0, 0))
        return "".join(self.parts), tuple(self.segments)
