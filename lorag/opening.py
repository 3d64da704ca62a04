"""Makes a project in a folder, or opens one that exists: `lorag.init` and `lorag.open`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.pipeline.config import DEFAULT_BASE, FILE_NAME, load_settings, parse_settings, template
from lorag.pipeline.errors import ConfigError, InputError
from lorag.pipeline.records import Role
from lorag.project import Project

if TYPE_CHECKING:
    from lorag.pipeline.adapters.registry import Version
    from lorag.pipeline.engine.protocol import Engine
    from lorag.pipeline.retrieval.embedder import Embedder

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class NewProject:
    """A new project: its settings file, the starter adapters in its registry and, if there are none, why."""

    project: Project
    file: Path
    starters: Mapping[Role, Version]
    why_no_starters: str


def open_project(folder: str | Path = ".", *, engine: Engine | None = None, embedder: Embedder | None = None) -> Project:
    """The project in `folder`, which holds a lorag.yaml. Nothing is loaded yet.

    `engine` and `embedder` replace those that the settings describe, as in tests. Raises ConfigError with every problem of the
    settings.
    """
    place = Path(folder)
    return Project(place, load_settings(place), engine=engine, embedder=embedder)


def init_project(
    folder: str | Path,
    documents: str | Path,
    *,
    base: str | None = None,
    starters: bool = True,
    engine: Engine | None = None,
    embedder: Embedder | None = None,
) -> Project:
    """Make a project in `folder` that answers from the documents in `documents`, and open it.

    Writes lorag.yaml with a comment for each setting. Installs the bundled adapters, unless `starters` is False; they serve
    until the project has its own. `base` is a language model: a hub id or a folder. Raises InputError if `documents` is no
    folder, ConfigError if `folder` is a project already, BaseError if the package of the starters' base is not installed.
    """
    make_project(Path(folder), Path(documents), base=base, starters=starters)
    return open_project(folder, engine=engine, embedder=embedder)


def make_project(
    folder: Path,
    documents: Path,
    *,
    base: str | None = None,
    starters: bool = True,
    on_notice: Notice = lambda line: None,
) -> NewProject:
    """As `init_project`, and return what was made. `on_notice` gets a line for each starter whose evidence is refused."""
    from lorag.starters import fitting_starters, install_starters

    if not documents.is_dir():
        raise InputError(f"{documents}: not a folder; give the folder that holds the documents with --docs")
    file = folder / FILE_NAME
    text = template(_documents_path(folder, documents), _base_name(folder, base or DEFAULT_BASE))
    settings = parse_settings(text, folder, name=str(file))
    if file.exists():
        raise _already_exists(file)
    found, why_not = fitting_starters(settings) if starters else ({}, "")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        raise _already_exists(file) from None
    installed = install_starters(settings, found, on_notice)
    return NewProject(Project(folder, settings), file, installed, why_not)


def _already_exists(file: Path) -> ConfigError:
    return ConfigError(f"{file}: is there already and stays as it is; open its project, edit the file, or name another folder")


def _documents_path(project: Path, documents: Path) -> str:
    """The documents' path for the settings file: as given if absolute, else relative to the project folder."""
    return str(documents) if documents.is_absolute() else os.path.relpath(documents.resolve(), project.resolve())


def _base_name(project: Path, base: str) -> str:
    """A base's name for the settings file: a path that begins with ./ or ../ becomes relative to the project folder."""
    if not base.startswith(("./", "../")):
        return base
    relative = os.path.relpath(Path(base).resolve(), project.resolve())
    return relative if relative.startswith("../") else f"./{relative}"
