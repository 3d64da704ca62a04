"""The values that were filled into a PDF's form, page by page. Knows nothing of its text."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

_MOST = 5000
"""Fields that are read of a form."""
_OFF, _ON = frozenset({"off", "no", "0", "false", ""}), frozenset({"yes", "on", "1", "true"})


def form_values(data: bytes) -> Mapping[int, tuple[str, ...]]:
    """Page, from 1 → a line `name: value` for each field with a value, in the order of the page.

    A field's name is the one that it shows to users, if it has one. A box that is ticked is `yes`, one that is not has no value.
    """
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        reader.decrypt("")
    found: dict[int, tuple[str, ...]] = {}
    left = _MOST
    for number, page in enumerate(reader.pages, start=1):
        lines = [_line(each.get_object()) for each in (page.get("/Annots") or ())[:left]]
        left -= len(lines)
        if shown := tuple(dict.fromkeys(line for line in lines if line)):
            found[number] = shown
    return found


def _line(field: Any) -> str:
    if field.get("/Subtype") != "/Widget":
        return ""
    chain = [field]
    while (parent := chain[-1].get("/Parent")) is not None and len(chain) < 20:
        chain.append(parent.get_object())
    value, kind, label = _first(chain, "/V"), _first(chain, "/FT"), _first(chain, "/TU")
    if value is None or kind == "/Sig":
        return ""
    shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if kind == "/Btn":
        state = shown.removeprefix("/")
        shown = "" if state.lower() in _OFF else "yes" if state.lower() in _ON else state
    name = label or ".".join(str(each["/T"]) for each in reversed(chain) if "/T" in each)
    shown, name = " ".join(shown.split()), " ".join(str(name).split())
    return f"{name}: {shown}" if shown and name else shown


def _first(chain: list[Any], key: str) -> Any:
    """The field's own entry, or that of the next one above it."""
    return next((each[key] for each in chain if key in each), None)
