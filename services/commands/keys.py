"""`lorag keys`: the API keys of a project's service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorag.services.api.scopes import Scope
from lorag.services.options import HERE, Format, Output, Project
from lorag.services.terminal import cell, for_project, out, say, show, show_json, table

if TYPE_CHECKING:
    from lorag.services.api.keys import KeyEntry, KeyRing

app = typer.Typer(no_args_is_help=True, help="Make, list and remove API keys of `lorag serve`.")

KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, for people and the log.", show_default=False)]


@app.command("add")
def add_key(
    name: KeyName,
    scope: Annotated[
        list[Scope],
        typer.Option("--scope", help="What it may do: ask questions, ingest documents, admin adapters. Repeat for several."),
    ],
    tenant: Annotated[
        str,
        typer.Option("--tenant", metavar="TENANT", help="See and add this tenant's documents.", show_default="the project's own"),
    ] = "",
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Make a key and print it once: only its hash is stored. A running service accepts it at once if it has keys already."""
    ring = _open(project)
    first = not ring.path.exists()
    key = ring.add(name, scope, tenant)
    if output is Format.JSON:
        show_json({"name": name, "key": key, "scopes": [each.value for each in scope], "tenant": tenant})
    else:
        show(key)
    say("Keep it: it cannot be shown again." + (" A service that runs without keys must be started anew." if first else ""))


@app.command("list")
def list_keys(project: Project = HERE, output: Output = Format.TEXT) -> None:
    """All keys by name, with what they may do and for whom; never the keys themselves."""
    entries = _open(project).entries()
    if output is Format.JSON:
        show_json({"keys": [_fields(entry) for entry in entries]})
        return
    if not entries:
        show(for_project("No keys; make one with `lorag keys add NAME --scope ask`.", project))
        return
    rows = table("name", "scopes", "tenant", "created")
    for entry in entries:
        rows.add_row(
            *(cell(text) for text in (entry.name, ", ".join(entry.scopes), entry.tenant or "(the project)", entry.created))
        )
    out().print(rows)


@app.command("remove")
def remove_key(name: KeyName, project: Project = HERE) -> None:
    """Forget a key: a running service refuses it from the next request on."""
    _open(project).remove(name)
    show(f"The key {name} is removed.")


def _fields(entry: KeyEntry) -> dict[str, Any]:
    return {"name": entry.name, "scopes": list(entry.scopes), "tenant": entry.tenant, "created": entry.created}


def _open(project: Path) -> KeyRing:
    import lorag
    from lorag.services.api.keys import FILE, KeyRing

    lorag.open(project)  # a folder that is no project gets no keys
    return KeyRing(project / FILE)
