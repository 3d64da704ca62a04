"""HTML that is escaped by construction: plain strings become text, only `Markup` is inserted unescaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

MINUS = "\N{MINUS SIGN}"
EN_DASH = "\N{EN DASH}"

_VOID = frozenset({"input", "meta"})


class Markup(str):
    """A string that is HTML or SVG already."""


Child = str | None | Iterable["Child"]


def el(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """An element. Strings among `children` are escaped, None is skipped, iterables are unrolled.

    Attribute names: a trailing `_` is dropped, other `_` become `-`. True gives a bare attribute; False and None none.
    """
    parts = []
    for key, value in attributes.items():
        label = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(f" {label}")
        elif value is not None and value is not False:
            parts.append(f' {label}="{escape(_attribute(value), quote=True)}"')
    opening = f"<{name}{''.join(parts)}>"
    return Markup(opening if name in _VOID else f"{opening}{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """The children, concatenated."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child, quote=False))
        elif child is not None:
            parts.append(join(*child))
    return Markup("".join(parts))


def number(value: float, digits: int = 3) -> str:
    """A figure with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """A difference, always with its sign."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """Seconds as text: `0.42 s`, `38 s`, `4 min 05 s`, `1 h 02 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _attribute(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
