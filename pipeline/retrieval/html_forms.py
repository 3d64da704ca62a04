"""The values of form controls in an HTML page: what is typed, ticked or chosen is text of the page. Knows no parser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Attributes = Mapping[str, str | None]

_TYPED = frozenset(
    ["text", "search", "tel", "url", "email", "date", "month", "week", "time", "datetime-local", "number", "range"]
)
_TICKED = frozenset({"checkbox", "radio"})


@dataclass(slots=True)
class Option:
    """A choice of a `<select>`, whose text grows while it is read."""

    selected: bool
    label: str
    text: str = ""

    @classmethod
    def of(cls, attributes: Attributes) -> Option:
        return cls("selected" in attributes, attributes.get("label") or "")

    def shown(self) -> str:
        return " ".join(self.text.split()) or self.label


def input_text(attributes: Attributes) -> str:
    """What an `<input>` shows that is not a label: the typed value, `[x]` or `[ ]`; '' for others, and for passwords."""
    kind = (attributes.get("type") or "text").strip().lower()
    if kind in _TICKED:
        return "[x]" if "checked" in attributes else "[ ]"
    return " ".join((attributes.get("value") or "").split()) if kind in _TYPED else ""


def chosen(options: Sequence[Option]) -> str:
    """What a `<select>` shows: the chosen options, or all if none is marked as chosen."""
    shown = [option.shown() for option in options if option.selected] or [option.shown() for option in options]
    return ", ".join(text for text in shown if text)
