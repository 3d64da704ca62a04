"""Extracts readable text from HTML, with a map from every verbatim character to its place in the file.

Headings become `## Heading` lines, list items `- ` or `1. ` lines, table rows `| cell | cell |` lines: one notation for all
formats. Scripts, styles and drawings are dropped. Knows nothing of files, chunks or links.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from dataclasses import dataclass

from lorag.pipeline.records import Segment
from lorag.pipeline.retrieval.html_forms import Option, chosen, input_text
from lorag.pipeline.retrieval.html_parser import CODE, WholePageParser
from lorag.pipeline.retrieval.html_writer import Writer

_RAW = CODE | {"noscript", "iframe"}
_DROPPED = _RAW | {"template", "svg"}
"""Elements without text to read. In those of `_RAW` tags have no meaning, so they do not nest."""
_PARAGRAPH_TAGS = """
    address article aside blockquote body caption details dialog div dl dt fieldset figcaption figure footer form header hr html
    main nav ol p pre section summary table ul
"""
_PARAGRAPHS = frozenset(_PARAGRAPH_TAGS.split())
_LINES = frozenset({"br", "dd", "legend", "textarea", "tbody", "thead", "tfoot"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CELLS = frozenset({"td", "th"})
_SPACES = re.compile(r"[ \t\r\n\f]+")
_PIECES = re.compile(r"[ \t\r\n\f]+|[^ \t\r\n\f]+")
_REFERENCE = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|\w+);?")
_OPTIONS = frozenset({"option", "optgroup", "hr", "legend", "span"})
_DEEPEST = 10
"""Levels of lists that are indented: without a limit the indents of a million lists would fill the memory."""


@dataclass(frozen=True, slots=True)
class HtmlText:
    """`segments` are sorted, do not overlap, and hold `text[offset:offset+length] == raw[source_start:source_start+length]`.

    `missing` are lines on what hides text of the page, such as a script without an end.
    """

    title: str
    text: str
    segments: tuple[Segment, ...]
    missing: tuple[str, ...] = ()


def extract(raw: str) -> HtmlText:
    """Text of an HTML page. Never raises: malformed HTML is read roughly as browsers do, but an element or a comment that is
    never closed does not swallow the rest of the page.

    White space is collapsed as in a browser, except inside `<pre>`; a single line break inside a paragraph is kept, so that a
    sentence across it stays verbatim. `&nbsp;` becomes a plain space. Values of forms and descriptions of pictures are text.
    """
    extractor = _Extractor(raw)
    extractor.read()
    title = _SPACES.sub(" ", html.unescape("".join(extractor.title))).strip()
    return HtmlText(title, *extractor.writer.result(), tuple(extractor.missing))


class _Extractor(WholePageParser):
    def __init__(self, raw: str) -> None:
        super().__init__(raw)
        self.options: list[Option] | None = None
        self.writer = Writer()
        self.title: list[str] = []
        self.in_title = False
        self.dropping: list[str] = []
        self.pre = 0
        self.lists: list[int | None] = []
        self.cell = False
        self.row = False

    def read(self) -> None:
        """Read the whole page."""
        self.parse()
        self._end_select()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _DROPPED:
            super().handle_startendtag(tag, attrs)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.dropping:
            if tag == self.dropping[-1] and tag not in _RAW and self.closings_left(tag) > len(self.dropping):
                self.dropping.append(tag)
            return
        if self.in_title and not self.closings_left("title"):
            self.in_title = False
        if self.options is not None and tag not in _OPTIONS:
            self._end_select()
        if tag in _DROPPED:
            if self.closings_left(tag) or tag in CODE:
                self.dropping.append(tag)
        elif tag == "title" and not self.writer.length:
            self.in_title = True
        elif tag == "select":
            self.options = []
        elif self.options is not None:
            if tag == "option":
                self.options.append(Option.of(dict(attrs)))
        elif tag in ("input", "img"):
            self._write_apart(input_text(dict(attrs)) if tag == "input" else " ".join((dict(attrs).get("alt") or "").split()))
        elif tag == "tr":
            self._start_row()
        elif tag in _CELLS:
            self._start_cell()
        elif tag == "li":
            self._start_item()
        elif self.cell:
            if tag in _PARAGRAPHS or tag in _LINES or tag in _HEADINGS:
                self.writer.gap()
        else:
            self._start_block(tag, dict(attrs))

    def _start_block(self, tag: str, attrs: dict[str, str | None]) -> None:
        if tag in _HEADINGS:
            self.writer.pause(2)
            self.writer.lead = "#" * _HEADINGS[tag] + " "
        elif tag in ("ul", "ol"):
            self.writer.pause(1 if self.lists else 2)
            start = attrs.get("start") or "1"
            self.lists.append(None if tag == "ul" else int(start) if start.isdecimal() else 1)
        elif tag in _PARAGRAPHS and not self.writer.lead:
            self.writer.pause(2)
            self.pre += tag == "pre"
        elif tag in _LINES and not self.writer.lead:
            self.writer.pause(1)

    def _start_item(self) -> None:
        if self.cell:
            self.writer.gap()
            return
        self.writer.pause(1)
        number = self.lists[-1] if self.lists else None
        self.writer.lead = "  " * min(max(len(self.lists) - 1, 0), _DEEPEST) + ("- " if number is None else f"{number}. ")
        if number is not None:
            self.lists[-1] = number + 1

    def _start_row(self) -> None:
        self._end_row()
        self.writer.pause(1)
        self.row = True

    def _start_cell(self) -> None:
        self._end_cell()
        if not self.row:
            self._start_row()
        if self.writer.breaks or not self.writer.length:
            self.writer.write("|", None)
        self.cell = True
        self.writer.space = (" ", None)

    def _end_cell(self) -> None:
        if self.cell:
            self.writer.space = (" ", None)
            self.writer.write("|", None)
            self.cell = False

    def _end_row(self) -> None:
        self._end_cell()
        if self.row:
            self.writer.pause(1)
            self.row = False

    def handle_endtag(self, tag: str) -> None:
        if self.dropping:
            if tag == self.dropping[-1]:
                self.dropping.pop()
            return
        if tag == "title":
            self.in_title = False
        elif tag == "select":
            self._end_select()
        elif tag in _CELLS:
            self._end_cell()
        elif tag in ("tr", "table"):
            self._end_row()
            if tag == "table":
                self.writer.pause(2)
        elif self.cell:
            return
        elif tag in _HEADINGS:
            self.writer.lead = ""
            self.writer.pause(2)
        elif tag == "li":
            self.writer.lead = ""
            self.writer.pause(1)
        elif tag in ("ul", "ol"):
            if self.lists:
                self.lists.pop()
            self.writer.pause(1 if self.lists else 2)
        elif tag in _PARAGRAPHS and not self.writer.lead:
            self.writer.pause(1 if self.lists else 2)
            self.pre = max(self.pre - (tag == "pre"), 0)

    def handle_data(self, data: str) -> None:
        if self.dropping:
            return
        if self.in_title:
            self.title.append(data)
            return
        if self.options is not None:
            self._write_option(data)
            return
        at = self.position()
        known = self.raw.startswith(data, at)
        if self.pre and not self.cell:
            self._write_preformatted(data, at if known else None)
            return
        for piece in _PIECES.finditer(data):
            found = piece.group()
            place = at + piece.start() if known else None
            if not found[0].isspace() or found[0] not in " \t\r\n\f":
                self.writer.write(found, place)
            elif self.writer.space is None:
                whole = found in (" ", "\n") and not self.cell
                self.writer.space = (found, place) if whole else (" ", None)

    def _write_preformatted(self, data: str, at: int | None) -> None:
        body = data.strip("\n") if self.writer.breaks else data.rstrip("\n")
        if body:
            skipped = data.index(body)
            self.writer.write(body, None if at is None else at + skipped)
        if data.endswith("\n") and body:
            self.writer.space = ("\n", None)

    def handle_entityref(self, name: str) -> None:
        self._write_reference(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._write_reference(f"&#{name};")

    def _write_reference(self, guess: str) -> None:
        if self.dropping:
            return
        at = self.position()
        match = _REFERENCE.match(self.raw, at)
        written = match.group() if match else guess
        if self.in_title:
            self.title.append(written)
            return
        if self.options is not None:
            self._write_option(html.unescape(written))
            return
        meant = html.unescape(written)
        if meant in ("\xa0", " ", "\n"):
            self.writer.space = (" ", None)
        else:
            self.writer.write(meant, at if meant == written and match else None)

    def _write_option(self, text: str) -> None:
        if self.options:
            self.options[-1].text += text
        elif text.strip():
            self._write_apart(" ".join(text.split()))

    def _end_select(self) -> None:
        if self.options is not None:
            self._write_apart(chosen(self.options))
            self.options = None

    def _write_apart(self, text: str) -> None:
        """Write text that an attribute holds, with a space before and after it."""
        if text:
            self.writer.gap()
            self.writer.write(text, None)
            self.writer.gap()


def clip(segments: tuple[Segment, ...], start: int, end: int) -> tuple[Segment, ...]:
    """The part of a map that covers `start:end`, counted from `start`.

    A span without a verbatim character gets one segment of length 0 at the nearest place before it. An empty map would mean
    that the offsets are the source's.
    """
    if not segments:
        return ()
    first = max(bisect_left(segments, start, key=lambda segment: segment.offset) - 1, 0)
    kept = []
    for number in range(first, len(segments)):  # a slice would copy the rest for each passage
        segment = segments[number]
        if segment.offset >= end:
            break
        low, high = max(segment.offset, start), min(segment.offset + segment.length, end)
        if low < high:
            kept.append(Segment(low - start, segment.source_start + low - segment.offset, high - low))
    if kept:
        return tuple(kept)
    near = segments[first]
    return (Segment(0, near.source_start + near.length, 0),)
