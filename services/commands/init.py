"""`lorag init`: a project folder with its settings file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ConfigError, InputError
from services.terminal import show


def init(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder to make; one that exists is filled.")],
    docs: Annotated[Path, typer.Option("--docs", metavar="FOLDER", help="Folder with the documents to answer from.")],
) -> None:
    """Start a project: write PROJECT/lorag.yaml, with a comment for each setting."""
    from pipeline.config import FILE_NAME, template

    if not docs.is_dir():
        raise InputError(f"{docs}: not a folder; give the folder that holds the documents with --docs")
    file = project / FILE_NAME
    project.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(template(_as_seen_from(project, docs)))
    except FileExistsError:
        raise ConfigError(f"{file}: is there already and stays as it is; edit it, or name another project folder") from None
    option = "" if project.resolve() == Path.cwd() else f" --project {project}"
    show(f"Wrote {file}. Next:")
    show(f"  lorag ingest{option}")
    show(f'  lorag ask{option} "…"')


def _as_seen_from(project: Path, docs: Path) -> str:
    """The documents' path for the settings file: as given where absolute, else from the project folder."""
    return str(docs) if docs.is_absolute() else os.path.relpath(docs.resolve(), project.resolve())
