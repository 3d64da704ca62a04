"""A run folder (`lorag eval chain --out`) → one configuration's scores, for a comparison with another run and for export."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.evaluating.run_folder import ITEMS, TESTS
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import NDCG, RECALL
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.report.read import SavedRun, read_run
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SavedRows:
    """The rows of one configuration in a run folder. `header` identifies the run; `tests` are the test items by kind and id,
    empty in a folder that was written before they were saved."""

    file: Path
    header: Row
    rows: tuple[Row, ...]
    tests: Mapping[tuple[str, str], Row]


def is_run_folder(path: Path) -> bool:
    """True for a run folder that is no report's folder too."""
    return (path / ITEMS).is_file() and not (path / "report.json").is_file()


def read_saved(path: Path, configuration: str) -> SavedRun:
    """Read the report or the run folder at `path`. Raises InputError as `read_run` does, and for a broken row."""
    if is_run_folder(path):
        return _read_items(path, configuration)
    return read_run(path, configuration)


def read_rows(folder: Path, configuration: str) -> SavedRows:
    """The saved rows of a configuration. Raises InputError for a broken file and for an unknown configuration."""
    file = folder / ITEMS
    header, *rows = _rows(file)
    try:
        known = list(dict.fromkeys(str(row["configuration"]) for row in rows))
        chosen = tuple(row for row in rows if row["configuration"] == configuration)
        tests = _rows(folder / TESTS) if (folder / TESTS).is_file() else []
        found = SavedRows(file, header["header"], chosen, {(str(row["kind"]), str(row["id"])): row for row in tests})
    except (KeyError, TypeError) as error:
        raise broken(file, error) from error
    if not chosen:
        raise InputError(f"{file}: no configuration {configuration!r}; it holds {', '.join(known) or 'none'}")
    return found


def broken(file: Path, error: Exception) -> InputError:
    """The error for a row that is not as LoRAG writes it."""
    return InputError(f"{file}: a row is not as `lorag eval chain` writes it ({error!r}); measure again")


def _read_items(folder: Path, configuration: str) -> SavedRun:
    """Scores and labels alone: a run folder holds no passages to show."""
    saved = read_rows(folder, configuration)
    try:
        data = dict(saved.header["data"])
        questions = [row for row in saved.rows if row["kind"] == "question"]
        scores = {
            "retrieval": ScoreTable(tuple(_scored(row, row["rewrite_outcome"], retrieval=True) for row in questions)),
            "answers": ScoreTable(tuple(_scored(row, row["answer"]["outcome"]) for row in questions if row["answer"])),
            "rewrites": ScoreTable(tuple(_scored(row, row["outcome"]) for row in saved.rows if row["kind"] == "rewrite")),
        }
        judgments = tuple(_judged(row) for row in saved.rows if row["kind"] == "judgment")
        qrels, golds = gold_passages(saved.tests.values()), gold_answers(saved.tests.values())
    except (KeyError, TypeError, ValueError) as error:
        raise broken(saved.file, error) from error
    digests = {f"test/{name}": str(digest)[:16] for name, digest in data.items()}
    return SavedRun(saved.file, folder.name, configuration, "", digests, scores, judgments, {}, {}, qrels, golds)


def gold_passages(tests: Iterable[Row]) -> dict[str, dict[str, int]]:
    """The judgments of the test items that retrieval is scored on: relevance 1 for each gold passage."""
    asked = [row for row in tests if row["kind"] == "question" and row["answerable"] and row["passages"]]
    return {str(row["id"]): {str(each): 1 for each in row["passages"]} for row in asked}


def gold_answers(tests: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    """The gold answers of the questions that have one."""
    asked = [row for row in tests if row["kind"] == "question" and row["answerable"] and row["target"]]
    return {str(row["id"]): tuple(map(str, row["target"])) for row in asked}


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
