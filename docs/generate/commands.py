"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from docs.generate.markdown import cell, code, name, page, table
from lorag.services.cli import app


def commands() -> str:
    """Each command with its usage, arguments and options."""
    root = typer.main.get_command(app)
    context = root.make_context("lorag", [], resilient_parsing=True)
    return page(
        "# Commands",
        f"{root.help or ''} Made from the commands; `lorag COMMAND --help` says the same.",
        "A command ends with exit code 0, or with 2 and one line on stderr that says what is wrong and what to do. Commands that "
        "a program might read take `-o json`, which puts JSON and nothing else on stdout.",
        *(part for command, path in walk(root, context) for part in _command(command, path)),
    )


def walk(group: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """Every command below `group` that can be run, with its context, in the order of the help."""
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        below = command.make_context(word, [], parent=context, resilient_parsing=True)
        if hasattr(command, "list_commands"):
            yield from walk(command, below)
        else:
            yield command, below


def _command(command: Any, context: Any) -> Iterator[str]:
    yield f"## {context.command_path}"
    yield code(command.get_usage(context).removeprefix("Usage: "))
    yield from (_flowed(part) for part in (command.help or "").split("\n\n"))
    records = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    yield table(
        ["argument or option", "what it is"],
        ([name(left), cell(right)] for left, right in records if not left.startswith("--help")),
    )


def _flowed(text: str) -> str:
    return " ".join(text.split())
