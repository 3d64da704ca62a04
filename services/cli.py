"""The command `lorag`: reads options, calls the work, prints. Known errors end in one line and exit code 2, Ctrl-C in 130."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from pipeline.errors import LoragError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lorag {version('lorag')}")
        raise typer.Exit


@app.callback()
def lorag(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Tune every stage of a retrieval-augmented question-answering system with LoRA, and serve it from one model."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except LoragError as error:
        typer.echo(f"lorag: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
