"""`lorag init`: a project folder with its settings file, and the bundled adapters in its registry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lorag.pipeline.errors import ConfigError, InputError
from lorag.services.terminal import say, show


def init(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder to make; one that exists is filled.")],
    docs: Annotated[Path, typer.Option("--docs", metavar="FOLDER", help="Folder with the documents to answer from.")],
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="Language model: a hub id or a folder.", show_default="smollm2-135m"),
    ] = None,
    starters: Annotated[
        bool, typer.Option("--starters/--no-starters", help="Install the bundled adapters, which serve until yours are trained.")
    ] = True,
) -> None:
    """Start a project: write PROJECT/lorag.yaml, with a comment for each setting, and install the starter adapters."""
    from lorag.pipeline.config import DEFAULT_BASE, FILE_NAME, parse_settings, template
    from lorag.starters import fitting_starters, install_starters

    if not docs.is_dir():
        raise InputError(f"{docs}: not a folder; give the folder that holds the documents with --docs")
    file = project / FILE_NAME
    text = template(_as_seen_from(project, docs), _base_seen_from(project, base or DEFAULT_BASE))
    settings = parse_settings(text, project, name=str(file))
    if file.exists():
        raise _is_there(file)
    found, why_not = fitting_starters(settings) if starters else ({}, "")
    project.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        raise _is_there(file) from None
    installed = install_starters(settings, found, say)
    show(f"Wrote {file}.")
    if installed:
        names = ", ".join(f"{role.value} {version.id}" for role, version in installed.items())
        show(f"Installed the starter adapters, which serve until yours are trained: {names}.")
    elif why_not:
        show(f"No starter adapters: {why_not}.")
    option = "" if project.resolve() == Path.cwd() else f" --project {project}"
    show("Next:")
    show(f"  lorag ingest{option}")
    show(f'  lorag ask{option} "…"')


def _is_there(file: Path) -> ConfigError:
    return ConfigError(f"{file}: is there already and stays as it is; edit it, or name another project folder")


def _as_seen_from(project: Path, docs: Path) -> str:
    """The documents' path for the settings file: as given where absolute, else from the project folder."""
    return str(docs) if docs.is_absolute() else os.path.relpath(docs.resolve(), project.resolve())


def _base_seen_from(project: Path, base: str) -> str:
    """A base's name for the settings file: a folder beginning with ./ or ../ as it is named from the project folder."""
    if not base.startswith(("./", "../")):
        return base
    seen = os.path.relpath(Path(base).resolve(), project.resolve())
    return seen if seen.startswith("../") else f"./{seen}"
