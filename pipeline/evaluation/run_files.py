"""Reads and writes runs and judgments by the file's extension, as ranx does: `.json` is ranx's JSON, anything else TREC text."""

from __future__ import annotations

from pathlib import Path

from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation import ranx, trec
from lorag.pipeline.evaluation.trec import Qrels, Run, Scored

PACKED = ".lz4"


def is_json(path: Path) -> bool:
    """True if the file is ranx's. Raises DataError for ranx's packed form, which is not read."""
    if path.suffix == PACKED:
        raise DataError(f"{path}: packed runs are not read; save it in ranx as .json or .trec")
    return path.suffix == ".json"


def read_run(path: Path) -> dict[str, tuple[Scored, ...]]:
    """Read a run. Raises DataError as the reader of its format."""
    return ranx.read_run(path) if is_json(path) else trec.read_run(path)


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read judgments. Raises DataError as the reader of their format."""
    return ranx.read_qrels(path) if is_json(path) else trec.read_qrels(path)


def write_run(run: Run, path: Path) -> None:
    """Write a run. TREC text raises InputError for an id with white space."""
    if is_json(path):
        ranx.write_run(run, path)
    else:
        trec.write_run(run, path)


def write_qrels(qrels: Qrels, path: Path) -> None:
    """Write judgments. TREC text raises InputError for an id with white space."""
    if is_json(path):
        ranx.write_qrels(qrels, path)
    else:
        trec.write_qrels(qrels, path)
