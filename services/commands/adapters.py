"""`lorag adapters`: the published versions, and which of them serve."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorag.pipeline.records import Role
from lorag.pipeline.storage.strict_json import plain
from lorag.services.commands.decision import show_decisions
from lorag.services.options import HERE, DataFolder, Format, Output, Project, Tuned
from lorag.services.terminal import cell, command, for_project, out, progress_bars, show, show_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lorag.catalogue import CatalogueEntry
    from lorag.pipeline.adapters.card import AdapterCard, Origin, Parent
    from lorag.pipeline.adapters.evidence import Evidence
    from lorag.pipeline.adapters.registry import Version
    from lorag.promotion import Switch

app = typer.Typer(no_args_is_help=True, help="List, show, promote and roll back adapter versions.")


class CardForm(StrEnum):
    HF = "hf"
    JSON = "json"


RoleArgument = Annotated[Role, typer.Argument(help="Which adapter.", show_default=False)]


@app.command("list")
def list_versions(project: Project = HERE, output: Output = Format.TEXT) -> None:
    """All published versions, oldest first."""
    import lorag

    opened = lorag.open(project)
    found = [_entry(each) for each in opened.adapters()]
    if output is Format.JSON:
        show_json({"adapters": found})
        return
    if not found:
        show(for_project(f"No adapters in {opened.registry.folder} yet; make one with `lorag train`.", project))
        return
    rows = table("role", "version", "alias", "created", "made of", "evidence")
    for entry in found:
        evidence = _first_evidence(entry)
        rows.add_row(
            *map(
                cell,
                (entry["role"], entry["version"], ", ".join(entry["aliases"]), entry["created"], _made_of(entry), evidence),
            )
        )
    out().print(rows)


@app.command("show")
def show_version(
    role: RoleArgument,
    version: Annotated[str, typer.Argument(help="A version, or candidate, production or previous.")] = "production",
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """The card of a version: what it is, what it was trained on, and its evidence."""
    import lorag
    from lorag.pipeline.adapters.card import card_json

    registry = lorag.open(project).registry
    found, card = registry.resolve(role, version), registry.show(role, version)
    if output is Format.JSON:
        show_json({**json.loads(card_json(card)), "aliases": list(found.aliases), "folder": str(found.folder)})
        return
    facts = table("", "")
    for key, value in _facts(found, card).items():
        facts.add_row(cell(key), cell(value))
    out().print(facts)
    if card.parent and card.parent.changes:
        show_changes(card.parent)
    if card.evidence:
        show_evidence(card.evidence)
    else:
        show(for_project("No held-out comparison yet; make one with `lorag eval adapter`.", project))


@app.command("promote")
def promote(
    role: RoleArgument,
    version: Annotated[str, typer.Argument(help="A version or alias.")] = "candidate",
    not_worse: Annotated[
        float | None,
        typer.Option(
            "--not-worse",
            metavar="MARGIN",
            min=0,
            help="Let it be worse than what serves by this much, in the metric's units; never than the floors.",
            show_default="must be better",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FOLDER", help="Open the sealed part of this data folder: it decides, and is opened once."
        ),
    ] = None,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Let a version serve that is better than what serves now, the bare base and the floors on held-out rows, and loses no guard.

    Guards are what it must not lose meanwhile, such as citations; their margins are under `gate` in lorag.yaml.
    """
    from lorag.services.served import open_project

    with open_project(project) as opened, progress_bars() as bars:
        switch = opened.promote(
            role,
            version,
            not_worse=not_worse,
            data=data,
            on_progress=lambda what, done, total: bars.update("requests", done, total, what),
            on_documents=lambda done, total: bars.update("documents", done, total),
            on_card=lambda card: show_decisions((card,), project) if output is Format.TEXT else None,
        )
    _show_switch(switch, project, output)


@app.command("rollback")
def rollback(role: RoleArgument, project: Project = HERE, output: Output = Format.TEXT) -> None:
    """Restore the previous version, for the embedder with the index that belongs to it. A second rollback undoes the first."""
    from lorag.services.served import open_project

    with open_project(project) as opened:
        _show_switch(opened.rollback(role), project, output)


@app.command("card")
def model_card(
    role: RoleArgument,
    version: Annotated[str, typer.Argument(help="A version or alias.")] = "production",
    form: Annotated[CardForm, typer.Option("--format", help="`hf`: README.md as Hugging Face reads it.")] = CardForm.HF,
    project: Project = HERE,
) -> None:
    """Print the card of a version as it is now. The registry keeps the same text as the version's README.md."""
    import lorag
    from lorag.pipeline.adapters.card import card_json
    from lorag.pipeline.adapters.model_card import write_model_card

    card = lorag.open(project).registry.show(role, version)
    typer.echo(write_model_card(card) if form is CardForm.HF else card_json(card), nl=False)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What peft's save_pretrained wrote, or a trl checkpoint.")],
    role: Annotated[Tuned, typer.Option("--role", help="What it is to be used for.")],
    data: DataFolder,
    contract: Annotated[
        str, typer.Option("--contract", metavar="HASH", help="Contract it was trained on.", show_default="not known")
    ] = "",
    precision: Annotated[
        str, typer.Option("--precision", help="How its base was kept in training, such as nf4.", show_default="not known")
    ] = "",
    licence: Annotated[str, typer.Option("--licence", help="Such as apache-2.0.", show_default="not said")] = "",
    same_base: Annotated[bool, typer.Option("--same-base", help="The base it names is this project's.")] = False,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Import an adapter that was trained elsewhere, as `candidate`. It serves once it is promoted, like every other."""
    import lorag

    with lorag.open(project) as opened:
        version = opened.import_adapter(
            folder, role.value, data, contract=contract, precision=precision, licence=licence, same_base=same_base
        )
    if output is Format.JSON:
        show_json({"role": role.value, "version": version.id, "folder": str(version.folder)})
        return
    show(f"{role.value} {version.id} is candidate now, imported from {folder}. Before it can be promoted:")
    show(f"  {command('eval', 'adapter', role.value, '--data', data, project=project)}")


def show_evidence(evidence: Sequence[Evidence]) -> None:
    """The claims of a card: a table for each reference and kind of test."""
    titled: dict[str, list[Evidence]] = {}
    for each in evidence:
        titled.setdefault(f"{each.kind.value.capitalize()}, against {each.against}", []).append(each)
    for title, claims in titled.items():
        _show_claims(claims, title)


def show_changes(parent: Parent) -> None:
    """The gains and losses of a training against the adapter that it continued."""
    _show_claims(parent.changes, f"Against {parent.version}, which training began with")


def _show_claims(evidence: Sequence[Evidence], title: str) -> None:
    rows = table("metric", ">reference", ">tuned", ">difference", ">95 % interval", ">n", "data", title=title)
    for each in evidence:
        interval = each.interval if each.level == 0.95 else f"{each.interval} ({each.confidence})"
        figures = (f"{each.reference:.3f}", f"{each.tuned:.3f}", f"{each.difference:+.3f}", interval, str(each.n))
        rows.add_row(cell(each.metric), *figures, cell(each.data))
    out().print(rows)


def _entry(each: CatalogueEntry) -> dict[str, Any]:
    version, card = each.version, each.card
    entry: dict[str, Any] = {"role": version.role.value, "version": version.id, "aliases": list(version.aliases), "created": ""}
    if card is None:
        return {**entry, "evidence": [], "problem": each.problem}
    parent = card.parent.version if card.parent else None
    return {**entry, "created": card.created, "data": card.data.name, "parent": parent, "evidence": plain(card.evidence)}


def _made_of(entry: Mapping[str, Any]) -> str:
    """The data that a version was trained on, and the version that it continued."""
    if "problem" in entry:
        return ""
    return f"{entry['data']}, on {entry['parent']}" if entry["parent"] else str(entry["data"])


def _first_evidence(entry: Mapping[str, Any]) -> str:
    if "problem" in entry:
        return f"damaged: {entry['problem']}"
    if not entry["evidence"]:
        return "none yet"
    first = entry["evidence"][0]
    against = first["against"]["version"]
    interval = f"{first['low']:+.3f} to {first['high']:+.3f}"
    return f"{first['metric']} {first['difference']:+.3f} ({interval}), n {first['n']}, against {against}"


def _facts(version: Version, card: AdapterCard) -> dict[str, str]:
    identity, lora = card.identity, card.lora
    return {
        "adapter": f"{card.role.value} {card.version}" + (f" ({', '.join(version.aliases)})" if version.aliases else ""),
        "created": card.created,
        "base": f"{identity.base} (digest {identity.base_digest[:16]}), trained in {identity.precision}",
        "weights": f"SHA-256 {identity.weights_digest}",
        "LoRA": f"rank {lora.rank}, alpha {lora.alpha:g}, {lora.parameters:,} parameters ({lora.share:.2%} of the base)",
        **(_imported(card.origin) if card.origin else _trained(card)),
        "licence": card.licence or "not said",
        "folder": str(version.folder),
    }


def _trained(card: AdapterCard) -> dict[str, str]:
    training, parent = card.training, card.parent
    return {
        "data": f"{card.data.name}, {card.data.rows} rows",
        "began with": f"{parent.version} (weights {parent.weights_digest[:16]})" if parent else "the bare base",
        "training": f"{training.method}; {training.steps} steps, final loss {training.final_loss:.4f}, {training.seconds:.0f} s",
    }


def _imported(origin: Origin) -> dict[str, str]:
    return {
        "imported": f"from the folder {origin.folder} (settings SHA-256 {origin.settings_digest[:16]}), made for "
        f"{origin.base or 'a base it does not name'}",
        "training": "elsewhere; how and on what is not known",
    }


def _show_switch(switch: Switch, project: Path, output: Format) -> None:
    if output is Format.JSON:
        named = {"production": switch.production, "previous": switch.previous or None, "index": switch.index or None}
        decided = {} if switch.claim is None else {"evidence": plain(switch.claim), "margin": switch.margin}
        show_json({"role": switch.role.value, **named, **decided})
        return
    before = f"; before it was {switch.previous}" if switch.previous else ""
    show(f"{switch.role.value} {switch.production} is production now{before}.")
    if reason := switch.reason():
        show(reason)
    if switch.index:
        show(for_project(switch.index, project))
    if switch.is_served:
        show("The running `lorag serve` takes it up within seconds.")
