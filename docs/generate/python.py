"""The reference of the Python package: its public names, their signatures and docstrings."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import lorag
from docs.generate.markdown import code, name, page, table

INTRODUCTION = (
    "The public names of `import lorag`, made from their docstrings. Importing loads no model library. What stands elsewhere can "
    "be imported as `lorag.pipeline`, `lorag.training` and `lorag.services`, and may change."
)
ORDER = ("open", "init", "Project")
"""What a reader wants first; the records follow by name."""


def python() -> str:
    """Every name of `lorag.__all__`."""
    public = [each for each in lorag.__all__ if not each.startswith("_")]
    names = [*ORDER, *sorted(set(public) - set(ORDER))]
    return page("# Python", INTRODUCTION, *(part for each in names for part in _name(each, getattr(lorag, each))))


def _name(title: str, found: Any) -> Iterator[str]:
    yield f"## lorag.{title}"
    if inspect.isfunction(found):
        yield code(f"lorag.{title}{signature(found)}", "python")
    yield said(found)
    if isinstance(found, type) and issubclass(found, enum.Enum):
        yield ", ".join(f"`{member.value}`" for member in found)
    elif dataclasses.is_dataclass(found):
        yield table(["field", "type"], ([name(each.name), name(str(each.type))] for each in dataclasses.fields(found)))
    if inspect.isclass(found) and not issubclass(found, enum.Enum | Exception):
        for each, member in members(found):
            yield from _member(title, each, member)


def members(record: type) -> list[tuple[str, Any]]:
    """The public methods and properties that a class defines itself, in the order of its source."""
    own = [(each, member) for each, member in vars(record).items() if not each.startswith("_")]
    return [(each, member) for each, member in own if isinstance(member, property) or inspect.isroutine(member)]


def _member(owner: str, title: str, member: Any) -> Iterator[str]:
    yield f"### {owner}.{title}"
    if isinstance(member, property):
        returned = inspect.signature(member.fget).return_annotation if member.fget else ""
        yield code(f"{title}: {returned}", "python")
    else:
        yield code(f"{title}{signature(getattr(member, '__func__', member))}", "python")
    yield said(member)


def signature(function: Any) -> str:
    """As it is written, without `self`; a long one has a parameter a line."""
    found = inspect.signature(function)
    kept = [each for each in found.parameters.values() if each.name not in ("self", "cls")]
    inside = [_parameter(each) for each in kept]
    first = next((at for at, each in enumerate(kept) if each.kind is each.KEYWORD_ONLY), None)
    if first is not None:
        inside.insert(first, "*")
    returned = "" if found.return_annotation is found.empty else f" -> {found.return_annotation}"
    line = f"({', '.join(inside)}){returned}"
    return line if len(line) <= 90 else f"(\n{textwrap.indent(f',{chr(10)}'.join(inside), '    ')},\n){returned}"


def _parameter(each: inspect.Parameter) -> str:
    star = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
    typed = "" if each.annotation is each.empty else f": {each.annotation}"
    return f"{star}{each.name}{typed}" + ("" if each.default is each.empty else f" = {each.default!r}")


def said(found: Any) -> str:
    """The docstring in paragraphs; what is indented stays as code."""
    return "\n\n".join(_paragraph(part) for part in (inspect.getdoc(found) or "").split("\n\n"))


def _paragraph(part: str) -> str:
    return code(textwrap.dedent(part), "python") if part.startswith("    ") else " ".join(part.split())
