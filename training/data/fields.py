"""Typed, strict access to the fields of one JSON object; every error names file, line and field.

Knows which fields a caller reads, not what a row is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from lorag.pipeline.contracts.context import parse_turn
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Turn

_T = TypeVar("_T")


class Place(Protocol):
    """The location of an object, for errors. Its text is made only for an error."""

    def inside(self, name: str) -> Place:
        """The location of the value `name`, such as `answers[2]`, of the object at this location."""
        ...


class Fields:
    """The fields of the object at `where`: `FILE:LINE`, or with the path inside the line's object.

    Each accessor reads one field; `finish` refuses fields that were not read. With `extra` it counts them there instead, by name:
    public sets come in many editions, with keys of their own.
    """

    __slots__ = ("_extra", "_fields", "_read_keys", "where")

    def __init__(self, where: str | Place, fields: Mapping[str, object], extra: Counter[str] | None = None) -> None:
        self.where = where
        self._fields = fields
        self._extra = extra
        self._read_keys: set[str] = set()

    def has(self, key: str) -> bool:
        return key in self._fields

    def error(self, problem: str) -> DataError:
        return DataError(f"{self.where}: {problem}")

    def text(self, key: str, default: str | None = None, *, blank: bool = False) -> str:
        """A string; without `blank`, not one of white space alone. `default` is the value of an absent field."""
        value = self._read(key, default)
        if not isinstance(value, str):
            raise self._mistyped(key, "a string", value)
        if not value.strip() and not blank and self.has(key):
            raise self.error(f'"{key}" is empty')
        return value

    def integer(self, key: str) -> int:
        value = self._read(key, None)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._mistyped(key, "a whole number", value)
        return value

    def flag(self, key: str) -> bool | None:
        """true, false, or None if the field is absent."""
        if not self.has(key):
            return None
        value = self._read(key, None)
        if not isinstance(value, bool):
            raise self._mistyped(key, "true or false", value)
        return value

    def texts(self, key: str, *, blank: bool = False, required: bool = False) -> tuple[str, ...]:
        """A list of strings; empty if absent, unless `required`."""

        def one(value: object, where: str) -> str:
            if not isinstance(value, str):
                raise self._mistyped(where, "a string", value)
            if not value.strip() and not blank:
                raise self.error(f'"{where}" is empty')
            return value

        return self._list(key, one, required=required)

    def turns(self, key: str, *, required: bool = False) -> tuple[Turn, ...]:
        """A list of `User: …`, `Assistant: …` or `Topic: …` strings, oldest first."""

        def one(value: object, where: str) -> Turn:
            if not isinstance(value, str):
                raise self._mistyped(where, "a string", value)
            try:
                return parse_turn(value)
            except InputError as error:
                raise self.error(f'"{where}": {error}') from error

        return self._list(key, one, required=required)

    def nested(self, key: str) -> Fields:
        return self._nested(self._read(key, None), key)

    def nested_list(self, key: str, *, required: bool = False) -> tuple[Fields, ...]:
        return self._list(key, self._nested, required=required)

    def raw(self, key: str) -> object:
        """The value, unchecked."""
        return self._read(key, None)

    def pass_over(self, *keys: str) -> None:
        """Allow these fields and ignore them."""
        self._read_keys.update(keys)

    def finish(self) -> None:
        """Refuse unknown fields, or count them if `extra` was given."""
        unknown = sorted(self._fields.keys() - self._read_keys)
        if self._extra is not None:
            self._extra.update(unknown)
        elif unknown:
            names = ", ".join(f'"{name}"' for name in unknown)
            raise self.error(f"unknown {names}; known here: {', '.join(sorted(self._read_keys))}")

    def _read(self, key: str, default: object) -> object:
        self._read_keys.add(key)
        value = self._fields.get(key, default)
        if value is None and not self.has(key):
            raise self.error(f'"{key}" is missing')
        return value

    def _list(self, key: str, one: Callable[[object, str], _T], *, required: bool) -> tuple[_T, ...]:
        value = self._read(key, None if required else [])
        if not isinstance(value, list):
            raise self._mistyped(key, "a list", value)
        return tuple(one(item, f"{key}[{number}]") for number, item in enumerate(value))

    def _nested(self, value: object, name: str) -> Fields:
        if not isinstance(value, dict):
            raise self._mistyped(name, "an object", value)
        where = f'{self.where} "{name}"' if isinstance(self.where, str) else self.where.inside(name)
        return Fields(where, value, self._extra)

    def _mistyped(self, name: str, wanted: str, value: object) -> DataError:
        return self.error(f'"{name}" must be {wanted}, found {json.dumps(value, ensure_ascii=False)[:60]}')
