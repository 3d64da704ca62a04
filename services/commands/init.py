"""`lorag init`: a project folder with its settings file, and the bundled adapters in its registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorag.services.terminal import command, say, show


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
    from lorag.opening import make_project

    made = make_project(project, docs, base=base, starters=starters, on_notice=say)
    show(f"Wrote {made.file}.")
    if made.starters:
        names = ", ".join(f"{role.value} {version.id}" for role, version in made.starters.items())
        show(f"Installed the starter adapters, which serve until yours are trained: {names}.")
    elif made.why_no_starters:
        show(f"No starter adapters: {made.why_no_starters}.")
    show("Next:")
    show(f"  {command('ingest', project=project)}")
    show(f'  {command("ask", project=project)} "…"')
