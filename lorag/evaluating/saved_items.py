"""A run folder's items (`lorag eval chain --out`) → one configuration's scores, for a comparison with another run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorag.evaluating.run_folder import ITEMS
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import NDCG, RECALL
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.report.read import SavedRun, read_run
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome

Row = Mapping[str, Any]


def read_saved(path: Path, configuration: str) -> SavedRun:
    """Read the report or the run folder at `path`. Raises InputError as `read_run` does, and for a broken row."""
    if (path / ITEMS).is_file() and not (path / "report.json").is_file():
        return _read_items(path / ITEMS, configuration)
    return read_run(path, configuration)


def _read_items(file: Path, configuration: str) -> SavedRun:
    """Scores and labels alone: a run folder holds no passages to show."""
    header, *rows = _rows(file)
    try:
        data = dict(header["header"]["data"])
        known = list(dict.fromkeys(str(row["configuration"]) for row in rows))
        chosen = [row for row in rows if row["configuration"] == configuration]
        if not chosen:
            raise InputError(f"{file}: no configuration {configuration!r}; it holds {', '.join(known) or 'none'}")
        questions = [row for row in chosen if row["kind"] == "question"]
        scores = {
            "retrieval": ScoreTable(tuple(_scored(row, row["rewrite_outcome"], retrieval=True) for row in questions)),
            "answers": ScoreTable(tuple(_scored(row, row["answer"]["outcome"]) for row in questions if row["answer"])),
            "rewrites": ScoreTable(tuple(_scored(row, row["outcome"]) for row in chosen if row["kind"] == "rewrite")),
        }
        judgments = tuple(_judged(row) for row in chosen if row["kind"] == "judgment")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: a row is not as `lorag eval chain` writes it ({error!r}); measure again") from error
    digests = {f"test/{name}": str(digest)[:16] for name, digest in data.items()}
    return SavedRun(file, file.parent.name, configuration, "", digests, scores, judgments, {}, {})


def _rows(file: Path) -> list[Row]:
    try:
        return [json.loads(line) for line in file.read_bytes().splitlines()] or [{}]
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{file}: is cut off or is no JSON ({error}); run the same `lorag eval chain` again") from error


def _scored(row: Row, outcome: str, *, retrieval: bool = False) -> ItemScores:
    """A question's row holds the scores of its retrieval and of its answer together."""
    values = {str(name): float(value) for name, value in row["scores"].items()}
    if row["kind"] == "question":
        values = {name: value for name, value in values.items() if (name in (NDCG, RECALL)) is retrieval}
    return ItemScores(str(row["id"]), str(row["group"] or row["id"]), Outcome(outcome), values)


def _judged(row: Row) -> Judged:
    label, found = row["label"], {str(name): float(p) for name, p in row["probabilities"].items()}
    return Judged(str(row["id"]), str(row["gold"]), label, found, Outcome(row["outcome"]), str(row["group"] or row["id"]))
