"""Records of pydantic → tables of their keys: what is allowed, what is taken if a key is left out."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

WORDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
BOUNDS = {Ge: ("ge", "at least"), Gt: ("gt", "more than"), Le: ("le", "at most"), Lt: ("lt", "less than")}


def parts(annotation: Any) -> Iterator[Any]:
    """The members of a union, or what is no union itself."""
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from parts(member)
    else:
        yield annotation


def record_of(field: FieldInfo) -> type[BaseModel] | None:
    """The record that a field holds, if it holds one."""
    found = [each for each in parts(field.annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
    return found[0] if found else None


def allowed(field: FieldInfo) -> str:
    """What may stand there, in words."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    kinds = [_kind(each) for each in parts(field.annotation)]
    bounds = [
        f"{word} {getattr(each, name)}" for each in field.metadata for kind, (name, word) in BOUNDS.items() if type(each) is kind
    ]
    return ", ".join([" or ".join(kinds), *bounds])


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(str(value) for value in inner)
    if annotation is type(None):
        return "null"
    if hasattr(annotation, "__metadata__"):
        return _kind(inner[0])
    if origin in (list, tuple):
        return f"a list of {' or '.join(_kind(each) for each in parts(inner[0]))}"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(each.value for each in annotation)
    if origin is dict:
        return f"{_kind(inner[0])}: {_kind(inner[1])} lines"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def default(field: FieldInfo) -> str:
    """What is taken if the key is left out."""
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    return json.dumps(value if isinstance(value, bool | int | float | str | list | tuple | dict | type(None)) else str(value))
