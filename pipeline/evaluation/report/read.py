"""Reads one system's items back out of a report's JSON, so that two runs can be compared.

Strict: a file of another format, or one edited to be invalid, is refused with its fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import FileError, InputError
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.report.records import (
    FORMAT,
    Results,
)
from lorag.pipeline.evaluation.report.views import (
    ChainView,
    QuestionView,
)
from lorag.pipeline.evaluation.scores import ScoreTable
from lorag.pipeline.evaluation.trec import Qrels
from lorag.pipeline.storage.plain_files import parse_json
from lorag.pipeline.storage.strict_json import build


@dataclass(frozen=True, slots=True)
class SavedRun:
    """One configuration of an evaluation. `scores` by part (rewrites, retrieval, answers); `questions` and their `views` by id,
    both empty if the report does not show the configuration's answers. `qrels` are the gold passages of the questions that were
    searched for, `golds` the gold answers of those that have one, both if they were saved. `notes` say how a run of another
    system was read."""

    path: Path
    title: str
    configuration: str
    created: str
    digests: Mapping[str, str]
    scores: Mapping[str, ScoreTable]
    judgments: tuple[Judged, ...]
    questions: Mapping[str, QuestionView]
    views: Mapping[str, ChainView]
    qrels: Qrels = field(default_factory=dict)
    golds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_run(path: Path, configuration: str) -> SavedRun:
    """Read `configuration` from a report: its JSON, the page beside it, or the folder that holds report.json.

    Raises InputError for a missing file, a file that is no report of this format, and an unknown configuration; the message
    names the known ones.
    """
    file = report_file(path)
    data = _load(file)
    try:
        results = build(Results, data["results"], f"{file}: results")
        questions = tuple(build(QuestionView, each, f"{file}: questions[{at}]") for at, each in enumerate(data["questions"]))
        sides, digests = tuple(map(str, data["sides"])), data["provenance"]["digests"]
        title, created = str(data["title"]), str(data["provenance"]["created"])
    except (FileError, KeyError, TypeError) as error:
        what = f"{file}: key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{what}; make the report anew with `lorag eval ablation`") from error
    named = [table.configurations for table in results.scores] + [table.configurations for table in results.labels]
    known = list(dict.fromkeys(name for names in named for name in names))
    if configuration not in known:
        raise InputError(f"{file}: no configuration {configuration!r}; it holds {', '.join(known) or 'none'}")
    side = sides.index(configuration) if configuration in sides else None
    views = {} if side is None else {each.id: each.tuned if side else each.base for each in questions}
    return SavedRun(
        path=file,
        title=title,
        configuration=configuration,
        created=created,
        digests={str(name): str(digest) for name, digest in digests.items()},
        scores={table.part: ScoreTable(table.items) for table in results.scores if configuration in table.configurations},
        judgments=next((table.items for table in results.labels if configuration in table.configurations), ()),
        questions={each.id: each for each in questions} if views else {},
        views=views,
        golds={each.id: each.gold_answers for each in questions if each.answered and each.answerable},
    )


def report_file(path: Path) -> Path:
    """The JSON file of a report given by itself, its page or its folder."""
    if path.is_dir():
        return path / "report.json"
    return path.with_suffix(".json") if path.suffix == ".html" else path


def is_report(path: Path) -> bool:
    """False for a file of another system's run: any but a page or JSON, and JSON of objects without a report's format number."""
    if path.suffix != ".json":
        return path.is_dir() or path.suffix == ".html" or not path.is_file()
    try:
        data = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return True  # its reader says what is wrong
    return not isinstance(data, Mapping) or "format" in data or not any(isinstance(each, Mapping) for each in data.values())


def _load(file: Path) -> Mapping[str, Any]:
    try:
        data = parse_json(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; name a report's folder, its .json or its .html") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not a report's JSON ({error})") from error
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        given = data.get("format", "none") if isinstance(data, Mapping) else "none"
        raise InputError(f"{file}: is no report of format {FORMAT} (it has {given}); make it anew with `lorag eval ablation`")
    return data
