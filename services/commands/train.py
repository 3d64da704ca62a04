"""`lorag train ROLE`: one adapter, from data rows to a published candidate."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.pipeline.records import Role
from lorag.services.commands.adapters import show_changes
from lorag.services.commands.train_plan import print_plan
from lorag.services.failures import INTERRUPTED, Interrupted
from lorag.services.options import HERE, DataFolder, Format, Output, Project, Tuned
from lorag.services.terminal import command, progress_bars, say, show, show_json
from lorag.watching import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lorag.pipeline.adapters.card import AdapterCard

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
        typer.Option("--public", metavar="FOLDER", help="With --from: also measure on FOLDER/test of this other data folder."),
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
    import lorag
    from lorag.training import processes

    tuned = Role(role.value)
    with lorag.open(project) as opened:
        if dry_run:
            plan = opened.plan(tuned, data, recipe=recipe, begin=begin, public=public, max_memory=max_memory)
            print_plan(tuned, plan, opened.settings, as_json=output is Format.JSON)
            return
        run_folder = run or opened.run_folder(tuned, resume=resume)
        try:
            with progress_bars() as bars:
                if processes.is_first():
                    bars.begin(role.value)
                version = opened.train(
                    tuned,
                    data,
                    recipe=recipe,
                    begin=begin,
                    public=public,
                    max_memory=max_memory,
                    resume=resume,
                    run=run_folder,
                    on_progress=lambda at: bars.update(role.value, at.step, at.total, f"loss {at.loss:.3f}", at.seconds_left),
                    on_notice=say,
                    on_measured=lambda done, total: bars.update(MEASURING, done, total),
                )
        except KeyboardInterrupt:
            if not processes.is_first():
                raise typer.Exit(INTERRUPTED) from None
            chosen = {"--data": data, "--recipe": recipe, "--from": begin, "--public": public, "--max-memory": max_memory}
            resume_command = _resume_command(role, {**chosen, "--project": project if project != HERE else None, "--run": run})
            raise Interrupted(
                f"training stopped; complete checkpoints stay in {run_folder}, go on with: {resume_command}"
            ) from None
        processes.leave()
        if not processes.is_first():
            return
        if output is Format.JSON:
            show_json({"role": role.value, "version": version.id, "folder": str(version.folder), "run": str(run_folder)})
            return
        _report(opened.registry.show(tuned, version.id), project, data)


def _resume_command(role: Tuned, options: Mapping[str, object]) -> str:
    """The command that continues the run."""
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    return shlex.join(["lorag", "train", role.value, *words, "--resume"])


def _report(card: AdapterCard, project: Path, data: Path) -> None:
    facts, lora = card.training, card.lora
    show(
        f"Published {card.role.value} {card.version} as candidate: {facts.steps} steps on {card.data.rows} rows in "
        f"{duration(facts.seconds)}, loss {facts.final_loss:.3f}, {lora.parameters:,} parameters ({lora.share:.2%} of the base)."
    )
    if card.parent and card.parent.changes:
        show_changes(card.parent)
    show("Next, prove on held-out rows that it helps, and let it serve:")
    show(f"  {command('eval', 'adapter', card.role.value, '--data', data, project=project)}")
    show(f"  {command('adapters', 'promote', card.role.value, project=project)}")
