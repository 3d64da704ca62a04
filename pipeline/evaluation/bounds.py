"""Reads from the words beside a quantity whether it is a lower or an upper bound, and on which side of something it lies.

"At least 5 kg" is not "at most 5 kg", nor is "10 minutes before departure" the same as "10 minutes after departure". Rules, not
a model; pure text.
"""

from __future__ import annotations

import re

from lorag.pipeline.evaluation.quantity import HOURS

UP, DOWN = 1, -1
SIDED = frozenset({"time", "months", "length", HOURS})
"""Kinds of quantities that lie before or after, above or below something."""

_MORE = (
    r"at\s+(?:the\s+)?least|(?:more|greater|higher|larger|longer|older|later|further)\s+than|(?:an?\s+|the\s+)?min(?:imum(?:\s+of)?|\.|\b)"
    r"|over|above|after|beyond|exceed(?:s|ed|ing)?|upwards?\s+of|from|since|(?:at\s+(?:the\s+)?)?earliest"
)
_LESS = (
    r"at\s+(?:the\s+)?most|(?:less|fewer|lower|smaller|shorter|younger|earlier|sooner)\s+than|(?:an?\s+|the\s+)?max(?:imum(?:\s+of)?|\.|\b)"
    r"|under|below|before|until|till|up\s+to|within|(?:at\s+(?:the\s+)?)?latest"
)
_BEFORE_IT = re.compile(
    rf"(?:(?P<not>\b(?:not?|never|cannot)|n't)\s+(?:(?:be|to|have)\s+)*)?\b(?:(?P<more>{_MORE})|(?P<less>{_LESS}))"
    r"\s+(?:(?:about|the|an?|around)\s+)?$",
    re.IGNORECASE,
)
_SIGN = re.compile(r"(?P<sign>[<>]=?|[≤≥])\s*$")
_OR = r"^(?:[\s,]*(?:or|and)|\s+[a-z]+\s+or)\s+"
_OR_MORE = re.compile(
    rf"{_OR}(?:more|over|above|longer|later|older|greater|higher|upwards?|after)\b|^\s*(?:at\s+(?:the\s+)?(?:least|earliest)|min(?:imum)?)\b",
    re.I,
)
_OR_LESS = re.compile(
    rf"{_OR}(?:less|fewer|under|below|shorter|earlier|younger|lower|before)\b|^\s*(?:at\s+(?:the\s+)?(?:most|latest)|max(?:imum)?)\b",
    re.I,
)
_LATER = re.compile(r"^\s+(?:after|later|above|over)\b", re.IGNORECASE)
_EARLIER = re.compile(r"^\s+(?:before|earlier|prior\s+to|below|under|beneath)\b", re.IGNORECASE)


def bound_of(before: str, after: str) -> int:
    """Of the text on both sides of a quantity: `UP` if it is at least or more than that, `DOWN` if at most or less, else 0."""
    if sign := _SIGN.search(before):
        return UP if sign["sign"][0] in ">≥" else DOWN
    if found := _BEFORE_IT.search(before):
        bound = UP if found["more"] else DOWN
        return -bound if found["not"] else bound
    return UP if _OR_MORE.match(after) else DOWN if _OR_LESS.match(after) else 0


def side_of(after: str) -> int:
    """Of the text behind a quantity: `UP` if it is one after or above something, `DOWN` if before or below it, else 0."""
    return UP if _LATER.match(after) else DOWN if _EARLIER.match(after) else 0


_PLACE = "\x02"
_AT_LEAST = re.compile(
    rf"(?:\bat\s+(?:the\s+)?(?:very\s+)?least|\b(?:no|not)\s+(?:less|fewer)\s+than|\b(?:an?\s+|the\s+)?min(?:imum(?:\s+of)?|\.)|≥|>=)\s*(?P<a>{_PLACE})"
    rf"|(?P<b>{_PLACE}(?:\s+[a-z]+)?)[\s,]+(?:(?:or|and)\s+(?:more|above|upwards?|over|longer|older|higher|greater|later)|at\s+(?:the\s+)?least|min(?:imum)?)\b",
    re.I,
)
_AT_MOST = re.compile(
    rf"(?:\bat\s+(?:the\s+)?(?:very\s+)?most|\b(?:no|not)\s+more\s+than|\b(?:an?\s+|the\s+)?max(?:imum(?:\s+of)?|\.)|\bup\s+to|≤|<=)\s*(?P<a>{_PLACE})"
    rf"|(?P<b>{_PLACE}(?:\s+[a-z]+)?)[\s,]+(?:(?:or|and)\s+(?:less|fewer|below|under|shorter|younger|lower|earlier)|at\s+(?:the\s+)?most|max(?:imum)?)\b",
    re.I,
)


def with_plain_bounds(rest: str) -> str:
    """The rest of a text (`Reading.rest`) with one word for each bound: "5 kg or more" and "at least 5 kg" become the same."""
    rest = _AT_LEAST.sub(lambda found: f" atleast {found['a'] or found['b']}", rest)
    return _AT_MOST.sub(lambda found: f" atmost {found['a'] or found['b']}", rest)
