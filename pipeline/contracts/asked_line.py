"""The one line that a rewriter's or a questioner's reply is, as both contracts read it. Pure text."""

from __future__ import annotations

import re

from lorag.pipeline.contracts.context import one_line

_QUOTED = re.compile(r'["“]([^"“”]*)["”]')
_SPELT_TOKEN = re.compile(r"<\|[^|<>]*\|>")


def asked_line(reply: str, prefix: re.Pattern[str]) -> str:
    """The first line of a reply that is not empty, without `prefix` and the quotes around all of it; '' if it has no word."""
    line = next((part for part in reply.splitlines() if part.strip()), "")
    line = one_line(prefix.sub("", line))
    if quoted := _QUOTED.fullmatch(line):
        line = quoted[1].strip()
    return line if re.search(r"\w", _SPELT_TOKEN.sub("", line)) else ""
