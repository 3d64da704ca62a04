"""`lorag eval export`: a saved run for other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lorag.services.commands.compare import CONFIGURATION
from lorag.services.options import Format, Output
from lorag.services.terminal import show, show_json


class Form(StrEnum):
    TREC = "trec"
    RANX = "ranx"
    INSPECT = "inspect"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that `lorag eval chain --out` wrote.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")],
    form: Annotated[Form, typer.Option("--format", help="TREC text, ranx's JSON, or a log that Inspect reads.")] = Form.TREC,
    qrels: Annotated[
        Path | None, typer.Option("--qrels", metavar="FILE", help="Write the gold passages too, in the same format.")
    ] = None,
    configuration: Annotated[
        str, typer.Option("--configuration", metavar="NAME", help="Which of the run's configurations.")
    ] = CONFIGURATION,
    output: Output = Format.TEXT,
) -> None:
    """Write a saved run for another tool: the rankings of its searches, or every item with its output and scores."""
    from lorag.project import Project

    found = Project.export(run, out, form.value, qrels=qrels, configuration=configuration)
    if output is Format.JSON:
        show_json({"files": [str(path) for path in found.files], "items": found.items, "unscored": found.unscored})
        return
    rest = f", {found.unscored} of them unscored with the reason" if found.unscored else ""
    show(f"{found.items} {'items' if form is Form.INSPECT else 'queries'}{rest}: {', '.join(map(str, found.files))}")
