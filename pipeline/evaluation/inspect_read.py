"""Reads a log of Inspect that was written as JSON: what each sample was answered, and its scores.

The format is `EvalLog`, as in `inspect_log`. NaN stands for an unscored value and is left out. Events, messages and usage are
not read. Knows no run folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.inspect_log import CORRECT, INCORRECT

PACKED = ".eval"


@dataclass(frozen=True, slots=True)
class LoggedSample:
    """One sample of one epoch: its output, empty if it `failed`, and its scores by scorer. A value that is no number and no
    right or wrong label is left out."""

    id: str
    output: str
    failed: bool
    target: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InspectLog:
    """A log. `metadata` is that of the task; `scorers` are those that any sample names."""

    task: str
    model: str
    created: str
    status: str
    samples: tuple[LoggedSample, ...]
    scorers: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def is_log(path: Path) -> bool:
    """Whether the file is a log of Inspect, packed or JSON. False for a file that cannot be read."""
    if path.suffix == PACKED:
        return True
    if path.suffix != ".json" or not path.is_file():
        return False
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False  # its reader says what is wrong
    return isinstance(data, Mapping) and {"version", "status", "eval"} <= data.keys()


def read_log(path: Path) -> InspectLog:
    """Read the log. Raises DataError, naming file and sample, for a packed one, one without samples, and one that is not as
    Inspect writes it."""
    if path.suffix == PACKED:
        raise DataError(f"{path}: is packed; write it as JSON with `inspect log convert --to json --output-dir DIR {path.name}`")
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as a log of Inspect ({error})") from error
    samples = data.get("samples")
    if not isinstance(samples, list) or not samples:
        raise DataError(f"{path}: holds no samples; log them (`log_samples`) and write the log again")
    try:
        spec = data["eval"]
        names = dict.fromkeys(str(name) for sample in samples for name in sample.get("scores") or {})
        read = tuple(_sample(path, at, sample) for at, sample in enumerate(samples))
        task, model, created = (str(spec.get(key, "")) for key in ("task", "model", "created"))
        return InspectLog(task, model, created, str(data["status"]), read, tuple(names), dict(spec.get("metadata") or {}))
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is not as Inspect writes it ({error!r})") from error


def _sample(path: Path, at: int, sample: Mapping[str, Any]) -> LoggedSample:
    if "id" not in sample:
        raise DataError(f"{path}: samples[{at}] has no id")
    failed, target = sample.get("error") is not None, sample.get("target", [])
    scores = {str(name): value for name, score in (sample.get("scores") or {}).items() if (value := _value(score)) is not None}
    return LoggedSample(
        id=str(sample["id"]),
        output="" if failed else _output(sample.get("output") or {}),
        failed=failed,
        target=(target,) if isinstance(target, str) else tuple(map(str, target)),
        scores=scores,
        metadata=dict(sample.get("metadata") or {}),
    )


def _value(score: Mapping[str, Any]) -> float | None:
    value = score["value"]
    if isinstance(value, str):
        return {CORRECT: 1.0, INCORRECT: 0.0}.get(value)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _output(output: Mapping[str, Any]) -> str:
    """The reply: `completion`, or the content of the first choice, of which the parts that are text."""
    if isinstance(output.get("completion"), str):
        return str(output["completion"])
    choices = output.get("choices") or []
    content = choices[0]["message"]["content"] if choices else ""
    if isinstance(content, str):
        return content
    return "".join(str(part["text"]) for part in content if part.get("type") == "text")
