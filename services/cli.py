"""The command `lorag`. Each command is a function in `services.commands`, and `services.failures` handles errors."""

from __future__ import annotations

import io
import os
import sys
import warnings
from contextlib import suppress
from typing import Annotated

import typer

from lorag.services.commands import adapters, data, evaluate, feedback, keys
from lorag.services.commands.ask import ask
from lorag.services.commands.chat import chat
from lorag.services.commands.compare import compare
from lorag.services.commands.data_review import review
from lorag.services.commands.demo import demo
from lorag.services.commands.doctor import doctor
from lorag.services.commands.evaluate_ablation import ablation
from lorag.services.commands.evaluate_export import export
from lorag.services.commands.ingest import ingest
from lorag.services.commands.init import init
from lorag.services.commands.merge import merge
from lorag.services.commands.serve import serve
from lorag.services.commands.train import train
from lorag.services.commands.tune import tune
from lorag.services.commands.tune_search import tune_search
from lorag.services.failures import BUG, CommandGroup, report_bug

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

for command in (demo, init, ingest, ask, chat, tune, train, serve):
    app.command(command.__name__)(command)
evaluate.app.command("ablation")(ablation)
evaluate.app.command("compare")(compare)
evaluate.app.command("export")(export)
app.add_typer(evaluate.app, name="eval")
adapters.app.command("merge")(merge)
app.add_typer(adapters.app, name="adapters")
data.app.command("review")(review)
app.add_typer(data.app, name="data")
app.add_typer(feedback.app, name="feedback")
app.add_typer(keys.app, name="keys")
app.command("tune-search")(tune_search)
app.command("doctor")(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

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
    """Run the command line and exit."""
    warnings.simplefilter("ignore")  # warnings of libraries are for developers, not for users of a command
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="lorag")
    except Exception as error:
        report_bug(error)
        sys.exit(BUG)
    finally:
        _flush_stdout()


def _flush_stdout() -> None:
    """Flush now: at exit, Python would print an error if the reader has closed the pipe."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":  # for `accelerate launch … -m lorag.services.cli train`
    main()
