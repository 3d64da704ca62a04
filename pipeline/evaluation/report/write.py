"""Writes a report to a folder, each file atomically."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.report.page import render_page
from lorag.pipeline.evaluation.report.records import Report, check
from lorag.pipeline.storage.atomic import write_file


def write_report(report: Report, folder: Path, name: str = "report") -> Path:
    """Write NAME.json and NAME.html to `folder`, which is made if missing; each replaces the old one in one step. Returns the
    page.

    The JSON has the fields of `Report`, `comparisons` among them. Before anything is written, raises InputError for a figure
    that is not finite, an inconsistent report, or a folder that is not writable.
    """
    check(report)
    parts = plain(report, "report")
    lines = [f"{json.dumps(key)}: {json.dumps(part, ensure_ascii=False, allow_nan=False)}" for key, part in parts.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    page = render_page(report)
    try:
        write_file(folder / f"{name}.json", text)
        write_file(folder / f"{name}.html", page)
    except OSError as error:
        raise InputError(f"{folder}: the report cannot be written ({error.strerror}); choose another folder") from error
    return folder / f"{name}.html"


def plain(value: Any, where: str) -> Any:
    """Records, mappings and sequences as JSON values. Raises InputError, naming the field, for what JSON cannot hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name), f"{where}.{each.name}") for each in fields(value)}
    if isinstance(value, Enum):
        return plain(value.value, where)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}, which is no figure; leave it out and count it")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {str(key): plain(each, f"{where}[{key!r}]") for key, each in value.items()}
    if isinstance(value, Set):
        return plain(sorted(value), where)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(each, f"{where}[{at}]") for at, each in enumerate(value)]
    raise InputError(f"{where} is a {type(value).__name__}, which JSON cannot hold; convert it first")
