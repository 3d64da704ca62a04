"""`lorag eval compare`: two saved runs, or one and a run file or log of another system, item by item."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.services.options import Format, Output
from lorag.services.terminal import cell, out, show, show_json, table

if TYPE_CHECKING:
    from lorag.evaluating.comparison import ComparedRuns

FLIPS_SHOWN = 10
CONFIGURATION = "all adapters"


def compare(
    first: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="A report (its folder, .json or .html), a run folder, a TREC or ranx run file, or an Inspect log."
        ),
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one, or the same with another --b.")],
    a: Annotated[str, typer.Option("--a", metavar="CONFIGURATION", help="Which of A's configurations.")] = CONFIGURATION,
    b: Annotated[str, typer.Option("--b", metavar="CONFIGURATION", help="Which of B's configurations.")] = CONFIGURATION,
    qrels: Annotated[
        Path | None, typer.Option("--qrels", metavar="FILE", help="Judgments for a run file, if the other run holds none.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="Write a page with both traces of each question.")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Compare two reports on the items they share: paired differences, what is more than noise, and what flipped.

    One of the two may be another system's: a run file, TREC text or ranx's .json, of which the gold passages score the rankings,
    or a log of Inspect as .json, of which the gold answers score the outputs.
    """
    from lorag.pipeline.evaluation.report.write import write_report
    from lorag.project import Project
    from lorag.services.options import page_at

    place = page_at(page) if page is not None else None
    compared = Project.compare(first, second, configuration=a, after_configuration=b, qrels=qrels)
    written = write_report(compared.report(), *place) if place else None
    if output is Format.JSON:
        show_json(compared.to_json())
    else:
        _show(compared)
        if written is not None:
            show(f"page: {written}")


def _show(compared: ComparedRuns) -> None:
    from lorag.evaluating.comparison import describe, notices
    from lorag.pipeline.evaluation.effects import SIMULATED, WORTH

    found = compared.found
    show(f"A: {describe(compared.first)}")
    show(f"B: {describe(compared.second)}")
    for notice in (*compared.first.notes, *compared.second.notes, *notices(found)):
        show(notice)
    columns = (
        "metric",
        ">A",
        ">B",
        ">B − A",
        ">interval",
        ">p, corrected",
        ">n",
        ">up",
        ">down",
        ">shows from*",
        f">{WORTH:g} takes*",
        "",
    )
    rows = table(*columns)
    for each in found.metrics:
        effect = each.effect
        figures = (f"{each.first:.3f}", f"{each.second:.3f}", f"{effect.value:+.3f}", f"{effect.low:+.3f} to {effect.high:+.3f}")
        counts = (f"{effect.adjusted:.3f}", str(effect.n), str(effect.rose), str(effect.fell))
        least = "nothing" if effect.detectable is None else f"{effect.detectable:.3f}"
        needed = effect.needed(WORTH)
        more = ("" if needed is None else str(needed), "more than noise" if effect.shown else "")
        rows.add_row(cell(each.metric), *figures, *counts, least, *more)
    out().print(rows)
    show(SIMULATED)
    flips = found.flips
    if flips.n:
        show(f"of {flips.n} questions, {len(flips.gained)} are right in B alone and {len(flips.lost)} in A alone")
        for name, ids in (("turned right", flips.gained), ("turned wrong", flips.lost)):
            rest = f" and {len(ids) - FLIPS_SHOWN} more" if len(ids) > FLIPS_SHOWN else ""
            if ids:
                show(f"{name}: {', '.join(ids[:FLIPS_SHOWN])}{rest}")
