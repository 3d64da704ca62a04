"""Options that several commands share."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Role
from lorag.services.failures import NAMED_PROJECT


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


class Tuned(StrEnum):
    """The roles that `lorag train` tunes; `questioner` only makes data."""

    REWRITER = Role.REWRITER.value
    EMBEDDER = Role.EMBEDDER.value
    SYNTHESIZER = Role.SYNTHESIZER.value
    JUDGE = Role.JUDGE.value


def _remember_project(context: typer.Context, folder: Path) -> Path:
    """Store the project for the hints of error messages."""
    context.meta[NAMED_PROJECT] = folder
    return folder


Project = Annotated[
    Path,
    typer.Option(
        "--project",
        metavar="PROJECT",
        help="Folder that holds lorag.yaml.",
        show_default="this folder",
        callback=_remember_project,
    ),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="`json` puts JSON, and nothing else, on stdout.")]
DataFolder = Annotated[
    Path, typer.Option("--data", metavar="FOLDER", help="passages.jsonl and train/, dev/, test/ with one ROLE.jsonl each.")
]

HERE = Path()


def page_at(page: Path) -> tuple[Path, str]:
    """The folder and the name of a report at `page`: `FILE.html`, or a folder for report.html.

    The folder is made now, because the work before the report may take hours. Raises InputError for a file of another kind, and
    if the folder cannot be written.
    """
    if page.suffix != ".html" and (page.suffix or page.is_file()):
        raise InputError(f"{page}: a report is an .html file with its .json beside it; name it FILE.html, or a folder")
    folder, name = (page.parent, page.stem) if page.suffix == ".html" else (page, "report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); name another place with --out") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: cannot be written to; name another place with --out")
    return folder, name
