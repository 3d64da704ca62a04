"""Runs and relevance judgments in ranx's JSON: `{query: {passage: score}}` and `{query: {passage: relevance}}`.

This is what `ranx.Run.from_file` and `ranx.Qrels.from_file` read and their `save` writes (github.com/AmenRa/ranx,
data_structures). ranx sorts a run by its scores and names no order for ties. ranx itself is not needed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.trec import Qrels, Run, Scored, rank
from lorag.pipeline.storage.plain_files import parse_json

RUN_SHAPE = "{query: {passage: score}}"
QRELS_SHAPE = "{query: {passage: relevance}}"
_MOST = sys.float_info.max


def read_run(path: Path) -> dict[str, tuple[Scored, ...]]:
    """Read a run. Raises DataError, naming file and query, for another shape and for a score that is no finite number."""
    found = {}
    for query, ranking in _queries(path, RUN_SHAPE):
        for passage, score in ranking.items():
            if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) <= _MOST:
                raise DataError(f"{path}: query {query!r}: the score of {passage!r} is {score!r}; it must be a finite number")
        found[query] = rank(Scored(passage, float(score)) for passage, score in ranking.items())
    return found


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read judgments. Raises DataError, naming file and query, for another shape and for a relevance that is no integer."""
    found = {}
    for query, judged in _queries(path, QRELS_SHAPE):
        for passage, relevance in judged.items():
            if isinstance(relevance, bool) or not isinstance(relevance, int):
                raise DataError(f"{path}: query {query!r}: the relevance of {passage!r} is {relevance!r}; it must be an integer")
        found[query] = dict(judged)
    return found


def write_run(run: Run, path: Path) -> None:
    """Write a run."""
    _write({query: {each.passage_id: each.score for each in ranking} for query, ranking in run.items()}, path)


def write_qrels(qrels: Qrels, path: Path) -> None:
    """Write judgments."""
    _write({query: dict(judged) for query, judged in qrels.items()}, path)


def _queries(path: Path, shape: str) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        data = parse_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}); ranx writes {shape}") from error
    if not isinstance(data, Mapping) or not data:
        raise DataError(f"{path}: holds no queries; ranx writes {shape}")
    for query, values in data.items():
        if not isinstance(values, Mapping):
            raise DataError(f"{path}: query {query!r} has no object of passages; ranx writes {shape}")
    return list(data.items())


def _write(content: Mapping[str, Mapping[str, float]], path: Path) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8")
