"""`lorag eval ablation`: every combination of adapters, the effect of each, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.services.commands.decision import show_decisions
from lorag.services.failures import Interrupted
from lorag.services.options import HERE, DataFolder, Format, Output, Project
from lorag.services.terminal import cell, out, progress_bars, show, show_json, table

if TYPE_CHECKING:
    from lorag.pipeline.evaluation.report.records import EffectRow

STAGE = "requests"


def ablation(
    data: DataFolder,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only N test items of each kind.", show_default="all")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.html", help="The report.", show_default="PROJECT/.lorag/ablation/report.html"),
    ] = None,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Measure all 16 combinations of the four adapters on FOLDER/test: main effects, interactions, and what is noise.

    Work that combinations share is done once, and a run that was stopped continues. A report with every question goes to --out,
    with its JSON next to it.
    """
    import lorag
    from lorag.evaluating.ablation import STATE, to_json
    from lorag.pipeline.evaluation.report.write import write_report
    from lorag.services.options import page_at

    with lorag.open(project) as opened, progress_bars() as bars:
        folder, name = page_at(page) if page is not None else (project / STATE, "report")
        bars.begin(STAGE)
        try:
            report = opened.ablate(data, limit=limit, on_progress=lambda what, done, total: bars.update(STAGE, done, total, what))
        except KeyboardInterrupt:
            raise Interrupted("the ablation stopped; what was answered is kept, run it again and it goes on from there") from None
    written = write_report(report, folder, name)
    if output is Format.JSON:
        show_json({"report": str(written), **to_json(report)})
        return
    show_decisions(report.decisions, project)
    for line in report.floor_notes:
        show(line)
    _show_effects(report.effects)
    show(f"report: {written}")


def _show_effects(effects: Sequence[EffectRow]) -> None:
    """`shows from` is the smallest true difference that the items show with 80 % power, before the correction of p. The next
    column is the number of items that a difference of WORTH takes."""
    from lorag.pipeline.evaluation.effects import SIMULATED, WORTH

    columns = (
        "metric",
        "effect",
        ">difference",
        ">interval",
        ">p, corrected",
        ">n",
        ">shows from*",
        f">{WORTH:g} takes*",
        "",
    )
    rows = table(*columns, title="Main effects and interactions")
    for each in effects:
        least = "nothing" if each.detectable is None else f"{each.detectable:.3f}"
        rows.add_row(
            cell(each.metric),
            cell(each.name),
            f"{each.value:+.3f}",
            f"{each.low:+.3f} to {each.high:+.3f}",
            f"{each.adjusted:.3f}",
            str(each.n),
            least,
            "" if each.needed is None else str(each.needed),
            "more than noise" if each.shown else "",
        )
    out().print(rows)
    show(SIMULATED)
