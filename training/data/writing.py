"""Writes rows as JSON Lines, in the form that `training.data.rows` reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import JudgeInputs
from lorag.pipeline.records import Turn
from lorag.pipeline.storage.jsonl import write_jsonl
from lorag.training.data.rows import Row


def write_rows(rows: Iterable[Row], path: Path) -> int:
    """Write rows to a .jsonl or .jsonl.gz file, whole or not at all, and return their number. Raises DataError."""
    return write_jsonl((row_object(row) for row in rows), path)


def row_object(row: Row) -> dict[str, object]:
    """The JSON object that reads back as `row`; optional fields that are empty are left out."""
    return _object(row)


def _object(record: Row | JudgeInputs | PassageText) -> dict[str, object]:
    found: dict[str, object] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if each.default is MISSING or value != each.default:
            found[each.name] = _plain(value)
    return found


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Turn):
        return str(value)
    return _object(value) if isinstance(value, JudgeInputs | PassageText) else value
