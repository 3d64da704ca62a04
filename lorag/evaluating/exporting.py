"""A saved run → files of other tools: TREC text, ranx's JSON, or a log of Inspect. Measures nothing and loads no model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lorag.evaluating.run_folder import TESTS, USAGE
from lorag.evaluating.saved_items import Row, SavedRows, broken, gold_passages, is_run_folder, read_rows
from lorag.pipeline.adapters.card import now_utc
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation import ranx, trec
from lorag.pipeline.evaluation.inspect_log import LogHeader, LogItem, LogUsage, log_json
from lorag.pipeline.evaluation.judge_metrics import task_accuracy
from lorag.pipeline.evaluation.trec import Qrels, Run, Scored, untied
from lorag.pipeline.records import Message, Outcome, Speaker
from lorag.pipeline.storage.atomic import write_file

REASONS = {Outcome.UNPARSED: "invalid_response_format", Outcome.FAILED: "no_response"}
"""Inspect's word for an outcome without a score (`ScoreReason`)."""


class ExportForm(StrEnum):
    """The tool that a saved run is written for."""

    TREC = "trec"
    RANX = "ranx"
    INSPECT = "inspect"


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that were written. `items` counts the queries or items, `unscored` those of them with a reason in place of a
    value."""

    files: tuple[Path, ...]
    items: int
    unscored: int = 0


def export_run(
    folder: Path, out: Path, form: ExportForm, *, qrels: Path | None = None, configuration: str = "all adapters"
) -> Exported:
    """Write a configuration of the run folder to `out`, and its gold passages to `qrels`.

    Raises InputError for what is no run folder, a folder without its test items, an id that TREC text cannot hold, and a place
    that cannot be written.
    """
    if not is_run_folder(folder):
        raise InputError(f"{folder}: is no run folder; name one that `lorag eval chain --out` wrote")
    if form is ExportForm.INSPECT and qrels is not None:
        raise InputError("--qrels goes with trec and ranx; a log of Inspect holds the gold answers of each item")
    saved = read_rows(folder, configuration)
    if not saved.tests:
        raise InputError(f"{folder}: holds no {TESTS}, since an earlier LoRAG wrote it; measure again with another --out")
    try:
        if form is ExportForm.INSPECT:
            return _export_log(saved, folder, out, configuration)
        return _export_rankings(saved, out, form, qrels)
    except (KeyError, TypeError, ValueError) as error:
        raise broken(saved.file, error) from error
    except OSError as error:
        raise InputError(f"{error.filename or out}: cannot be written ({error.strerror}); name another file") from error


def _export_rankings(saved: SavedRows, out: Path, form: ExportForm, qrels: Path | None) -> Exported:
    run: Run = {
        str(row["id"]): untied(Scored(str(id_), float(score)) for id_, score in row["ranking"])
        for row in saved.rows
        if row["kind"] == "question"
    }
    if not run:
        raise InputError(f"{saved.file}: this configuration searched for nothing, so it has no rankings")
    write_run, write_qrels = (ranx.write_run, ranx.write_qrels) if form is ExportForm.RANX else (trec.write_run, trec.write_qrels)
    write_run(run, out)
    if qrels is None:
        return Exported((out,), len(run))
    judged: Qrels = gold_passages(saved.tests.values())
    write_qrels(judged, qrels)
    return Exported((out, qrels), len(run))


def _export_log(saved: SavedRows, folder: Path, out: Path, configuration: str) -> Exported:
    expected = _expected(saved)
    items = [_log_item(row, saved.tests[str(row["kind"]), str(row["id"])], expected) for row in saved.rows]
    header = LogHeader(
        task=f"lorag {configuration}",
        model=str(saved.header["base"]["id"]),
        created=now_utc(),
        dataset=folder.name,
        packages={str(name): str(version) for name, version in saved.header["libraries"].items()},
        metadata={"configuration": configuration, "adapters": saved.header["adapters"], "test files": saved.header["data"]},
    )
    write_file(out, log_json(header, items, _usage(folder / USAGE)))
    return Exported((out,), len(items), sum(1 for item in items if item.unscored))


def _kind(row: Row, test: Row) -> str:
    """Items of one kind have the same metrics, unless something failed. Each judge task is a kind."""
    task = _label_metric(row) if row["kind"] == "judgment" else ""
    return f"{row['kind']} {test.get('answerable')} {row.get('answer') is not None} {task}"


def _label_metric(row: Row) -> str:
    """The scorer of a judgment in an Inspect log: a mean over all judge tasks would say nothing of any."""
    return task_accuracy(str(row["gold"]).partition(": ")[0])


def _expected(saved: SavedRows) -> Mapping[str, frozenset[str]]:
    """The metrics that an item of each kind has if nothing fails."""
    found: dict[str, set[str]] = {}
    for row in saved.rows:
        kind = _kind(row, saved.tests[str(row["kind"]), str(row["id"])])
        if row["kind"] == "judgment":
            found[kind] = {_label_metric(row)}
        elif _outcome(row) is Outcome.OK:
            found.setdefault(kind, set()).update(row["scores"])
    return {kind: frozenset(metrics) for kind, metrics in found.items()}


def _outcome(row: Row) -> Outcome:
    answer = row.get("answer")
    return Outcome(answer["outcome"] if answer else row.get("outcome") or row["rewrite_outcome"])


def _log_item(row: Row, test: Row, expected: Mapping[str, frozenset[str]]) -> LogItem:
    scores = {str(name): float(value) for name, value in row.get("scores", {}).items()}
    judged = row["kind"] == "judgment" and row["label"] is not None
    labels = {_label_metric(row): row["label"] == row["gold"]} if judged else {}
    outcome = _outcome(row)
    lacking = expected.get(_kind(row, test), frozenset()) - scores.keys() - labels.keys() if outcome is not Outcome.OK else ()
    return LogItem(
        id=f"{row['kind']}/{row['id']}",
        messages=_messages(test),
        target=tuple(str(each) for each in test["target"]),
        output=_output(row),
        scores=scores,
        unscored=dict.fromkeys(sorted(lacking), _reason(row, outcome)),
        reason=REASONS.get(outcome, ""),
        labels=labels,
        metadata=_metadata(row, test),
    )


def _messages(test: Row) -> tuple[Message, ...]:
    history = [
        Message("system" if speaker == Speaker.TOPIC.value else str(speaker), str(text)) for speaker, text in test["history"]
    ]
    return (*history, Message("user", str(test["input"])))


def _output(row: Row) -> str:
    """The reply as the model wrote it; for a question that was only searched for, the search question."""
    if row["kind"] == "judgment":
        return str(row["label"] or "")
    answer = row.get("answer")
    return str(answer["reply"] or answer["text"]) if answer else str(row["rewrite"] or "")


def _reason(row: Row, outcome: Outcome) -> str:
    answer = row.get("answer")
    error = answer["error"] if answer else None
    return f"{outcome.value}: {error}" if error else outcome.value


def _metadata(row: Row, test: Row) -> dict[str, Any]:
    keys = ("rewrite", "rewrite_outcome", "hits", "probabilities")
    cited = [each["passage_id"] for each in row["answer"]["citations"]] if row.get("answer") else []
    return {
        "kind": row["kind"],
        "id": row["id"],
        "group": test["group"],
        "outcome": _outcome(row).value,
        **({"answerable": test["answerable"], "gold passages": test["passages"]} if "passages" in test else {}),
        **{key: row[key] for key in keys if key in row},
        **({"cited": cited, "refused": row["answer"]["refused"]} if row.get("answer") else {}),
    }


def _usage(file: Path) -> Sequence[LogUsage]:
    """The tokens of the whole run by stage and adapter, if it ended."""
    if not file.is_file():
        return ()
    rows = json.loads(file.read_bytes())
    return [
        LogUsage(f"{row['stage']}: {row['adapter']}", int(row["prompt_tokens"]), int(row["completion_tokens"])) for row in rows
    ]
