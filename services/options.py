"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.records import Role


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


class Tuned(StrEnum):
    """The roles that `lorag train` tunes; `questioner` only makes data."""

    REWRITER = Role.REWRITER.value
    EMBEDDER = Role.EMBEDDER.value
    SYNTHESIZER = Role.SYNTHESIZER.value
    JUDGE = Role.JUDGE.value


Project = Annotated[
    Path, typer.Option("--project", metavar="PROJECT", help="Folder that holds lorag.yaml.", show_default="this folder")
]
Output = Annotated[Format, typer.Option("--output", "-o", help="`json` puts JSON, and nothing else, on stdout.")]
DataFolder = Annotated[
    Path, typer.Option("--data", metavar="FOLDER", help="passages.jsonl and train/, dev/, test/ with one ROLE.jsonl each.")
]

HERE = Path()
