"""Scored items as an Inspect log, which `inspect view` shows and `read_eval_log` reads.

The format is `EvalLog`, version 2, as JSON (github.com/UKGovernmentBEIS/inspect_ai, log/_log.py and scorer/_metric.py). An item
without a value is unscored: its value is NaN, which Inspect leaves out of every mean. Inspect itself is not needed. Knows no run
folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lorag.pipeline.records import Message

VERSION = 2
CORRECT, INCORRECT = "C", "I"
"""Inspect's values of a right and a wrong label, 1 and 0 in its means."""


@dataclass(frozen=True, slots=True)
class LogItem:
    """One item: what was asked, the gold targets, the output, and its scores by metric. `unscored` explains why a metric
    has no value, and `reason` is Inspect's word for it. `labels` says of a label whether it is right."""

    id: str
    messages: tuple[Message, ...]
    target: tuple[str, ...]
    output: str
    scores: Mapping[str, float] = field(default_factory=dict)
    unscored: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    labels: Mapping[str, bool] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogUsage:
    """Tokens of one model or adapter."""

    name: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class LogHeader:
    """What was evaluated. `created` is a UTC time, ISO 8601. `metadata` is shown as it is."""

    task: str
    model: str
    created: str
    dataset: str
    packages: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


def log_json(header: LogHeader, items: Sequence[LogItem], usage: Sequence[LogUsage] = ()) -> str:
    """The text of the log. NaN stands in it for an unscored value, as Inspect itself writes it."""
    samples = [_sample(item, header.model) for item in items]
    log = {
        "version": VERSION,
        "status": "success",
        "eval": _spec(header, items),
        "plan": {"name": "lorag", "steps": [], "config": {}},
        "results": _results(samples),
        "stats": {"started_at": header.created, "completed_at": header.created, "model_usage": _usage(usage)},
        "samples": samples,
    }
    return json.dumps(log, ensure_ascii=False, indent=2) + "\n"


def _spec(header: LogHeader, items: Sequence[LogItem]) -> dict[str, Any]:
    run = hashlib.sha256(f"{header.task}\0{header.model}\0{header.created}".encode()).hexdigest()[:22]
    ids = [item.id for item in items]
    return {
        "eval_id": run,
        "run_id": run,
        "task_id": run,
        "created": header.created,
        "task": header.task,
        "dataset": {"name": header.dataset, "samples": len(ids), "sample_ids": ids, "shuffled": False},
        "model": header.model,
        "config": {},
        "packages": dict(header.packages),
        "metadata": dict(header.metadata),
    }


def _sample(item: LogItem, model: str) -> dict[str, Any]:
    messages = [{"role": each.role, "content": each.content} for each in item.messages]
    reply = {"role": "assistant", "content": item.output, "source": "generate", "model": model}
    scores: dict[str, Any] = {name: {"value": value, "answer": item.output} for name, value in item.scores.items()}
    scores |= {name: {"value": CORRECT if right else INCORRECT, "answer": item.output} for name, right in item.labels.items()}
    nothing = {"value": math.nan, "answer": item.output, "reason": item.reason}
    scores |= {name: {**nothing, "explanation": why} for name, why in item.unscored.items()}
    return {
        "id": item.id,
        "epoch": 1,
        "input": messages,
        "target": list(item.target),
        "messages": [*messages, reply],
        "output": {"model": model, "choices": [{"message": reply, "stop_reason": "stop"}], "completion": item.output},
        "scores": scores,
        "metadata": dict(item.metadata),
    }


def _results(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each metric over the items that have a value."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        for name, score in sample["scores"].items():
            value = {CORRECT: 1.0, INCORRECT: 0.0}.get(score["value"], score["value"])
            values.setdefault(name, []).append(value)
    scores = []
    for name, found in values.items():
        scored = [value for value in found if not math.isnan(value)]
        mean = {"mean": {"name": "mean", "value": sum(scored) / len(scored)}} if scored else {}
        counts = {"scored_samples": len(scored), "unscored_samples": len(found) - len(scored)}
        scores.append({"name": name, "scorer": name, **counts, "metrics": mean})
    return {"total_samples": len(samples), "completed_samples": len(samples), "scores": scores}


def _usage(usage: Sequence[LogUsage]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for each in usage:
        before = found.get(each.name, {"input_tokens": 0, "output_tokens": 0})
        tokens = {
            "input_tokens": before["input_tokens"] + each.input_tokens,
            "output_tokens": before["output_tokens"] + each.output_tokens,
        }
        found[each.name] = tokens | {"total_tokens": sum(tokens.values())}
    return found
