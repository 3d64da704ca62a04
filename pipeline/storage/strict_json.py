"""Strict JSON → frozen records: every key known, none missing, every value of its declared type. Knows no record of its own.

Such a file decides what is served and who has access. So a misspelt or missing key is an error that names the key, never a
default. It uses the standard library alone: reading a file must import nothing slow.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast

from lorag.pipeline.errors import FileError
from lorag.pipeline.storage.plain_files import open_plain, parse_json

Record = TypeVar("Record")

OPTIONAL: Mapping[str, bool] = types.MappingProxyType({"optional": True})
"""Metadata of a field that may be absent: it then has its default. It is not written if it is None or an empty tuple."""

_MOST = 1e30
"""Larger numbers are refused: no value here is as large, and an integer of a thousand digits does not fit a float."""


def load_json(path: Path, *, limit: int) -> Any:
    """Parse a plain JSON file of at most `limit` bytes. Raises FileError that names the file for any other file or content, see
    `parse_json`."""
    with open_plain(path, limit) as file:
        data = file.read(limit)
    try:
        return parse_json(data)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: is not JSON ({error})") from error


def build(kind: type[Record], data: object, where: str) -> Record:
    """Build the frozen dataclass `kind` from parsed JSON. `where` begins each message: the file, then the key path.

    A field with the metadata `OPTIONAL` may be absent. Field types may be str, int, float (finite), bool, StrEnum, `X | None`,
    `tuple[X, ...]`, `Mapping[str, X]`, other dataclasses, and Any, which takes every value as it is. Raises FileError for an
    unknown or missing key and for a value of another type.
    """
    if not isinstance(data, Mapping):
        raise FileError(f"{where}: must be an object with the keys of {kind.__name__}")
    hints = _hints(cast(Any, kind))
    needed = {field.name for field in dataclasses.fields(cast(Any, kind)) if not field.metadata.get("optional")}
    missing, unknown = sorted(needed - data.keys()), sorted(data.keys() - hints.keys())
    if missing or unknown:
        what = f"key {missing[0]!r} is missing" if missing else f"unknown key {unknown[0]!r}"
        raise FileError(f"{where}: {what}; it must hold exactly {', '.join(hints)}")
    return kind(**{key: _value(hint, data[key], f"{where}: {key}") for key, hint in hints.items() if key in data})


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _value(next(h for h in inner if h is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise FileError(f"{where} must be a list")
        return tuple(_value(inner[0], item, f"{where}[{n}]") for n, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise FileError(f"{where} must be an object")
        return types.MappingProxyType({str(k): _value(inner[1], v, f"{where}.{k}") for k, v in value.items()})
    if dataclasses.is_dataclass(hint):
        return build(cast(type[Any], hint), value, where)
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if value not in [member.value for member in hint]:
            raise FileError(f"{where} is {value!r}; allowed: {', '.join(m.value for m in hint)}")
        return hint(value)
    if type(value) is not hint and not (hint is float and type(value) is int):
        raise FileError(f"{where} must be of type {hint.__name__}, not {type(value).__name__}")
    if hint in (int, float) and not abs(value) < _MOST:
        raise FileError(f"{where} must be a finite number")
    return float(value) if hint is float else value


def plain(value: Any) -> Any:
    """A record as plain JSON values: mappings, lists and scalars. The inverse of `build`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {field.name: plain(v) for field, v in named if v not in (None, ()) or not field.metadata.get("optional")}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def dump_json(value: Any, where: str) -> str:
    """Indented JSON text of a record. Raises FileError if a number is not finite, which is not JSON."""
    try:
        return json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise FileError(f"{where}: holds a number that is not finite ({error})") from error
