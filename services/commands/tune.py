"""`lorag tune`: the closed loop, from rows to adapters that serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.pipeline.records import Role
from lorag.services.failures import Interrupted
from lorag.services.options import HERE, Format, Output, Project, Tuned
from lorag.services.terminal import cell, command, out, progress_bars, show, show_json, table
from lorag.watching import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorag.closed_loop.loop import LoopResult
    from lorag.closed_loop.plan import StagePlan


def tune(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="passages.jsonl and train/, dev/, test/ with one ROLE.jsonl each.",
            show_default="rows are made from the documents",
        ),
    ] = None,
    project: Project = HERE,
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes",
            metavar="N",
            min=0,
            help="Time for all of it: rows and test items are cut to fit.",
            show_default="no limit",
        ),
    ] = 0.0,
    roles: Annotated[
        list[Tuned] | None, typer.Option("--roles", help="Only these; give it once for each.", show_default="all four")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train from the bare base, not on from the adapters that serve.")
    ] = False,
    accept_made: Annotated[
        bool,
        typer.Option(
            "--accept-synthetic", help="Let an adapter serve also if only made rows, that nobody has read, speak for it."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show rows and time of each stage; train and write nothing.")
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """From documents to tuned adapters: rows are made, or given in FOLDER, and every role is trained, measured and, if it is
    proven better, promoted.

    Stopped, the same command goes on where it was. What does not pass stays a candidate, and the reason is shown.
    """
    import lorag
    from lorag.closed_loop.state import ORDER, LoopSpec

    wanted = {Role(each.value) for each in roles or ()}
    spec = LoopSpec(
        data="" if data is None else str(data),
        minutes=minutes,
        roles=tuple(role for role in ORDER if not wanted or role in wanted),
        accept_made=accept_made,
        from_starters=not from_scratch,
    )
    with lorag.open(project) as opened:
        if dry_run:
            _show_plan(opened.plan_tune(spec), as_json=output is Format.JSON)
            return
        try:
            with progress_bars() as bars:
                result = opened.tune(spec, bars)
        except KeyboardInterrupt:
            raise Interrupted("tuning stopped; what is finished stays, run the same command again and it goes on") from None
    if output is Format.JSON:
        show_json(_as_json(result))
    else:
        _show_result(result, project)


def _show_plan(stages: Sequence[StagePlan], *, as_json: bool) -> None:
    if as_json:
        show_json([{"stage": each.stage, "rows": each.rows, "seconds": each.seconds} for each in stages])
        return
    shown = table("stage", ">rows", ">time")
    for each in stages:
        time = "as long as it takes" if each.seconds is None else f"about {duration(each.seconds)}"
        shown.add_row(cell(each.stage), f"{each.rows:,}" if each.rows else "", time)
    out().print(shown)
    show("Nothing is trained or written. Times rest on the speed of this machine just now.")


def _as_json(result: LoopResult) -> dict[str, object]:
    return {
        "folder": str(result.folder),
        "report": str(result.page),
        "outcomes": {role.value: outcome for role, outcome in result.outcomes.items()},
        "seconds": dict(result.seconds),
    }


def _show_result(result: LoopResult, project: Path) -> None:
    for role, outcome in result.outcomes.items():
        show(f"{role.value}: {outcome}")
    show(f"Took {duration(sum(result.seconds.values()))}. Report: {result.page}")
    show(f"Next: {command('ask', 'QUESTION', project=project)}")
