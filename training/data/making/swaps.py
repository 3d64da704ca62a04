"""Changes one value of a statement, so that its passage supports it no more: FactCC's operations (arXiv 1910.12840) by rules.

A name, code, figure, date or time is replaced by another one of the same kind and form in the same document; a verb is negated,
or its negation is taken away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lorag.training.data.making.records import Span, SpanKind, draw
from lorag.training.data.making.spans import find_spans
from lorag.training.data.rows import PassageRow

VALUES = frozenset({SpanKind.NAME, SpanKind.CODE, SpanKind.QUANTITY, SpanKind.DATE, SpanKind.TIME, SpanKind.MONEY})

_VERB = re.compile(r"\b(is|are|was|were|must|may|can|will|has|have|does|do)\b( not\b)?")


def values_of(passages: Iterable[PassageRow]) -> tuple[Span, ...]:
    """The names, codes and figures of the passages."""
    return tuple(span for passage in passages for span in find_spans(passage) if span.kind in VALUES)


def form(kind: SpanKind, value: str) -> tuple[int, str]:
    """The number of words, and of a figure its unit: 5 kg is swapped with 7 kg, not with 7 km."""
    has_unit = kind in (SpanKind.QUANTITY, SpanKind.MONEY)
    return len(value.split()), re.sub(r"[\d.,:+-]+", "", value).strip() if has_unit else ""


def other_value(kind: SpanKind, text: str, values: Iterable[Span], key: object) -> str:
    """Another value of that kind and form, drawn by `key`; '' if there is none."""
    same = sorted(
        {span.text for span in values if span.kind is kind and form(kind, span.text) == form(kind, text) and span.text != text}
    )
    return same[int(draw("value", key) * len(same))] if same else ""


def with_other_value(statement: str, values: Iterable[Span], key: object) -> str:
    """The statement with its last value replaced by another; '' if it has none, or the document has no other.

    The last, since a statement's first name is often what it is about.
    """
    held = tuple(values)
    for span in reversed(find_spans(PassageRow("", "", statement))):
        free = [each for each in held if each.text not in statement]
        if span.kind in VALUES and (new := other_value(span.kind, span.text, free, key)):
            return f"{statement[: span.start]}{new}{statement[span.end :]}"
    return ""


def negated(statement: str) -> str:
    """The statement that says the opposite, by its first auxiliary verb; '' if it has none."""
    found = _VERB.search(statement)
    if found is None:
        return ""
    return f"{statement[: found.start()]}{found[1]}{'' if found[2] else ' not'}{statement[found.end() :]}"
