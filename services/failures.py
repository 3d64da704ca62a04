"""Handles a command's errors: a known error becomes one line on stderr and an exit code, without a traceback.

    2    a LoragError, an OSError, memory that ran out (and usage errors, which typer reports)
    130  Ctrl-C
    1    anything else, which is a bug: `LORAG_DEBUG=1` shows its traceback

Knows no command.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from lorag.pipeline.errors import ConfigError, LoragError
from lorag.services.terminal import for_project, say, visible

REFUSED, INTERRUPTED, BUG = 2, 130, 1
DEBUG = "LORAG_DEBUG"
NAMED_PROJECT = "lorag.project"
"""Key of click's `Context.meta` for the project of a command."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C with a message: one line on what is kept and how to continue."""


class CommandGroup(TyperGroup):
    """The top of the command line. It handles the errors that commands raise."""

    def invoke(self, ctx: Any) -> Any:
        with known_failures(lambda: ctx.meta.get(NAMED_PROJECT)):
            return super().invoke(ctx)


@contextmanager
def known_failures(project: Callable[[], Path | None] = lambda: None) -> Iterator[None]:
    """Within: known errors are printed in one line, and typer.Exit with their code is raised. Others pass.

    Commands that a line names get the option for `project`, which is called only then.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our output has closed the pipe (`| head`); typer ends quietly
    except KeyboardInterrupt as interrupt:
        say(str(interrupt) or "interrupted")
        raise typer.Exit(INTERRUPTED) from interrupt
    except (LoragError, OSError, MemoryError) as error:
        say(f"error: {for_project(describe(error), project())}")
        raise typer.Exit(REFUSED) from error


def describe(error: BaseException) -> str:
    """The text of an error in one line. Only settings files may have a line per problem."""
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return one_line(": ".join([*names, error.strerror]))
    if isinstance(error, MemoryError):
        return "memory ran out; close other programs, or choose a smaller base, batch or max_length"
    return one_line(str(error)) or type(error).__name__


def one_line(text: str) -> str:
    return " ".join(text.split())


def report_bug(error: Exception) -> None:
    """Report an unexpected error in one line, or with its traceback if `LORAG_DEBUG=1`."""
    if os.environ.get(DEBUG) == "1":
        traceback.print_exception(error, file=sys.stderr)
        return
    what = visible(one_line(str(error)))[:200]
    say(f"error: {type(error).__name__}: {what}; this is a bug in LoRAG, {DEBUG}=1 shows where it happened: please report it")
