"""The files of an adapter, read as strictly as storage reads: what is wrong with one is an AdapterError that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from lorag.pipeline.errors import AdapterError, FileError
from lorag.pipeline.storage import atomic, plain_files, strict_json

Record = TypeVar("Record")


@contextlib.contextmanager
def _of_an_adapter(advice: str = "") -> Iterator[None]:
    try:
        yield
    except FileError as error:
        raise AdapterError(f"{error}{advice}") from error


_AGAIN = "; publish or copy the adapter again, as plain files"


def open_plain(path: Path, limit: int) -> BinaryIO:
    """As `plain_files.open_plain`. Raises AdapterError."""
    with _of_an_adapter(_AGAIN):
        return plain_files.open_plain(path, limit)


def copy_file(source: Path, target: Path, limit: int) -> None:
    """As `atomic.copy_file`. Raises AdapterError for what is no plain file, OSError for a full disk."""
    with _of_an_adapter(_AGAIN):
        atomic.copy_file(source, target, limit)


def load_json(path: Path, *, limit: int) -> Any:
    """As `strict_json.load_json`. Raises AdapterError."""
    with _of_an_adapter(_AGAIN):
        return strict_json.load_json(path, limit=limit)


def build(kind: type[Record], data: object, where: str) -> Record:
    """As `strict_json.build`. Raises AdapterError."""
    with _of_an_adapter():
        return strict_json.build(kind, data, where)


def dump_json(value: Any, where: str) -> str:
    """As `strict_json.dump_json`. Raises AdapterError."""
    with _of_an_adapter():
        return strict_json.dump_json(value, where)
