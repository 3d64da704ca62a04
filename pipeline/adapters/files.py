"""Strict reading and writing of an adapter's files: a FileError becomes an AdapterError that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from lorag.pipeline.errors import AdapterError, FileError
from lorag.pipeline.storage import atomic, plain_files, strict_json

Record = TypeVar("Record")


@contextlib.contextmanager
def _as_adapter_error(advice: str = "") -> Iterator[None]:
    try:
        yield
    except FileError as error:
        raise AdapterError(f"{error}{advice}") from error


_REMEDY = "; publish or copy the adapter again, as plain files"


def open_plain(path: Path, limit: int) -> BinaryIO:
    """As `plain_files.open_plain`. Raises AdapterError."""
    with _as_adapter_error(_REMEDY):
        return plain_files.open_plain(path, limit)


def copy_file(source: Path, target: Path, limit: int) -> None:
    """As `atomic.copy_file`. Raises AdapterError for what is no plain file, OSError for a full disk."""
    with _as_adapter_error(_REMEDY):
        atomic.copy_file(source, target, limit)


def load_json(path: Path, *, limit: int) -> Any:
    """As `strict_json.load_json`. Raises AdapterError."""
    with _as_adapter_error(_REMEDY):
        return strict_json.load_json(path, limit=limit)


def build(kind: type[Record], data: object, where: str) -> Record:
    """As `strict_json.build`. Raises AdapterError."""
    with _as_adapter_error():
        return strict_json.build(kind, data, where)


def dump_json(value: Any, where: str) -> str:
    """As `strict_json.dump_json`. Raises AdapterError."""
    with _as_adapter_error():
        return strict_json.dump_json(value, where)
