"""`lorag train ROLE`: one adapter, from data rows to a published candidate."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Role
from lorag.services.commands.adapters import show_changes
from lorag.services.commands.train_plan import batches, plan_for, print_plan
from lorag.services.failures import INTERRUPTED, Interrupted
from lorag.services.options import HERE, DataFolder, Format, Output, Project, Tuned
from lorag.services.terminal import duration, progress_bars, say, show, show_json

if TYPE_CHECKING:
    from lorag.pipeline.adapters.card import AdapterCard
    from lorag.training.progress import Progress

RUNS = Path(".lorag/runs")
MEASURING = "gained and lost"


def train(
    role: Annotated[Tuned, typer.Argument(help="Which adapter.")],
    data: DataFolder,
    project: Project = HERE,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="RECIPE",
            help="How to train: a YAML file, or a bundled recipe by name, such as `gpu`.",
            show_default="the role's own",
        ),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="ADAPTER",
            help="Go on from this adapter: `starter`, a version, an alias or a folder.",
            show_default="begin anew",
        ),
    ] = None,
    public: Annotated[
        Path | None,
        typer.Option("--public", metavar="FOLDER", help="With --from: also measure on the held-out part of these public sets."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest complete checkpoint.")] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", metavar="FOLDER", help="Checkpoints and loss curve.", show_default="PROJECT/.lorag/runs/ROLE-NUMBER"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show parameters, steps, peak memory and time; train and write nothing.")
    ] = False,
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory",
            metavar="SIZE",
            help="Read each step's rows in parts that fit, such as 6GiB; the loss stays the same.",
            show_default="as the recipe says",
        ),
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Train one adapter on FOLDER/train and publish it as `candidate`. It serves once it is promoted."""
    from lorag.assembly import open_registry
    from lorag.pipeline.config import load_settings
    from lorag.training import processes
    from lorag.training.estimate_memory import show_size
    from lorag.training.parent import Beginning, find_start
    from lorag.training.recipe import load_recipe

    settings = load_settings(project)
    tuned, read = Role(role.value), load_recipe(Role(role.value), recipe)
    run_folder = run or run_folder_for(project, tuned, resume=resume)
    registry = open_registry(settings)
    start = find_start(begin, tuned, registry) if begin else None
    if public and not start:
        raise InputError("--public measures what training changes on an adapter; name that adapter with --from")
    if dry_run or max_memory:
        plan = plan_for(tuned, settings, read, data, start, max_memory)
        if dry_run:
            print_plan(tuned, plan, settings, as_json=output is Format.JSON)
            return
        read = plan.recipe
        if processes.is_first():
            say(f"rows a step: {batches(plan)}, for a peak of about {show_size(plan.memory.total)}")
    try:
        from lorag.training.run import train_role

        with progress_bars() as bars:
            if processes.is_first():
                bars.begin(role.value)
            version = train_role(
                tuned,
                data=data,
                recipe=read,
                base=settings.base.model,
                embedder=settings.embedder.model,
                registry=registry,
                run_folder=run_folder,
                k=settings.retrieval.k,
                intents=settings.judge.intents,
                resume=resume,
                on_progress=lambda at: bars.update(role.value, at.step, at.total, _note(at), at.seconds_left),
                on_notice=say if processes.is_first() else None,
                beginning=Beginning(start, public, on_measured=lambda done, total: bars.update(MEASURING, done, total))
                if start
                else None,
            )
    except KeyboardInterrupt:
        if not processes.is_first():
            raise typer.Exit(INTERRUPTED) from None
        chosen = {
            "--data": data,
            "--recipe": recipe,
            "--from": begin,
            "--public": public,
            "--max-memory": max_memory,
            "--project": project if project != HERE else None,
            "--run": run,
        }
        options = [word for name, path in chosen.items() if path is not None for word in (name, str(path))]
        again = shlex.join(["lorag", "train", role.value, *options, "--resume"])
        raise Interrupted(f"training stopped; complete checkpoints stay in {run_folder}, go on with: {again}") from None
    processes.leave()
    if not processes.is_first():
        return
    if output is Format.JSON:
        show_json({"role": role.value, "version": version.id, "folder": str(version.folder), "run": str(run_folder)})
        return
    _report(registry.show(tuned, version.id), project, data)


def run_folder_for(project: Path, role: Role, *, resume: bool) -> Path:
    """Where a run's checkpoints go: a new numbered folder, so that no run's curve is lost; with `resume` the newest there is."""
    runs = project / RUNS
    pattern = re.compile(rf"{role.value}-(\d+)")
    found = [match for path in runs.iterdir() if (match := pattern.fullmatch(path.name))] if runs.is_dir() else []
    newest = max((int(match[1]) for match in found), default=0)
    return runs / f"{role.value}-{newest if resume and newest else newest + 1:04d}"


def _note(at: Progress) -> str:
    return f"loss {at.loss:.3f}"


def _report(card: AdapterCard, project: Path, data: Path) -> None:
    facts, lora = card.training, card.lora
    show(
        f"Published {card.role.value} {card.version} as candidate: {facts.steps} steps on {card.data.rows} rows in "
        f"{duration(facts.seconds)}, loss {facts.final_loss:.3f}, {lora.parameters:,} parameters ({lora.share:.2%} of the base)."
    )
    if card.parent and card.parent.changes:
        show_changes(card.parent)
    options = [] if project == HERE else ["--project", str(project)]
    show("Next, prove on held-out rows that it helps, and let it serve:")
    show(f"  {shlex.join(['lorag', 'eval', 'adapter', card.role.value, '--data', str(data), *options])}")
    show(f"  {shlex.join(['lorag', 'adapters', 'promote', card.role.value, *options])}")
