"""Python's HTML parser, made to read a page to its end whatever is wrong with it, in time linear in its length.

It raises on `<![if …]>`, stops at a malformed reference, and takes all after an unclosed comment for text. Knows no text and no
meaning of tags.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from html.parser import HTMLParser
from typing import Any

CODE = frozenset({"script", "style"})
"""Elements whose content has neither tags nor references."""

_CLOSING = re.compile(r"</(\w+)")
_REFERENCE = r"&(?=#[0-9]+[^0-9a-fA-F]|#[xX][0-9a-fA-F]+[^0-9a-fA-F]|[a-zA-Z])"
_REFERENCES = re.compile(_REFERENCE)
_TAGS_AND_REFERENCES = re.compile(f"<|{_REFERENCE}")


class WholePageParser(HTMLParser):
    """Calls its `handle_…` methods for the page `raw`. `missing` are lines on what hides text of it."""

    def __init__(self, raw: str) -> None:
        super().__init__(convert_charrefs=False)
        self.raw = raw
        self.missing: list[str] = []
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", raw))]
        self._closings: dict[str, list[int]] = {}
        for match in _CLOSING.finditer(raw):
            self._closings.setdefault(match.group(1).lower(), []).append(match.start())
        self._last_comment, self._last_section = raw.rfind("-->"), raw.rfind("]]>")

    def parse(self) -> None:
        """Read the page. Nothing after its last `>` can be a tag."""
        end = self.raw.rfind(">") + 1
        self.feed(self.raw[:end])
        self.goahead(True)
        if self.cdata_elem is None:
            self.interesting = _REFERENCES
            self.feed(self.raw[end:] + "\n")
            self.goahead(True)

    def reset(self) -> None:
        super().reset()
        self.interesting = _TAGS_AND_REFERENCES

    def clear_cdata_mode(self) -> None:
        super().clear_cdata_mode()
        self.interesting = _TAGS_AND_REFERENCES

    def set_cdata_mode(self, elem: str, **options: Any) -> None:
        """After the start of an element whose content Python's parser takes as it is; later versions do so in more than code."""
        if elem not in CODE:
            return
        super().set_cdata_mode(elem, **options)
        if not self.closings_left(elem):
            self.missing.append(f"<{elem}> in line {self.getpos()[0]} has no end, so what follows it was not read; close it")

    def parse_comment(self, i: int, report: bool = True) -> int:
        """The end of a comment. Of one that is never closed only its mark is left out."""
        return super().parse_comment(i, report) if self.position() < self._last_comment else i + 4

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """The end of `<![CDATA[…]]>`, whose content is text, or of another `<![…>`, which browsers take for a comment."""
        end = self.rawdata.find("]]>", i) if self.position() < self._last_section else -1
        if end >= 0 and self.rawdata.startswith("<![CDATA[", i):
            self.handle_data(self.rawdata[i + 9 : end])
            return end + 3
        return self.rawdata.find(">", i) + 1 or -1

    def closings_left(self, tag: str) -> int:
        """The number of end tags of this kind after the present place."""
        places = self._closings.get(tag, [])
        return len(places) - bisect_left(places, self.position())

    def position(self) -> int:
        """The offset in the page of what is being handled."""
        line, column = self.getpos()
        return self._line_starts[line - 1] + column
