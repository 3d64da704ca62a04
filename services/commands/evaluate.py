"""`lorag eval`: retrieval on a public set, the whole chain on the project's own, one adapter against its base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.services.commands.adapters import show_evidence
from lorag.services.commands.decision import show_decisions
from lorag.services.commands.evaluate_details import show_details
from lorag.services.commands.evaluate_retrieval import retrieval
from lorag.services.failures import Interrupted
from lorag.services.options import HERE, DataFolder, Format, Output, Project, Tuned
from lorag.services.terminal import cell, command, out, progress_bars, show, show_json, table

if TYPE_CHECKING:
    from lorag.evaluating.floor_figures import FloorFigures
    from lorag.evaluating.one_adapter import AdapterEvaluation
    from lorag.pipeline.evaluation.report.records import Ablation, Comparison

app = typer.Typer(no_args_is_help=True, help="Measure: retrieval on a BEIR set, the chain or one adapter on held-out rows.")

REQUESTS, DOCUMENTS, TEXTS = "requests", "documents", "texts of the general set"


app.command("retrieval")(retrieval)


@app.command("chain")
def chain(
    data: DataFolder,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only N test items.", show_default="all")
    ] = None,
    conversations: Annotated[
        int, typer.Option("--conversations", metavar="N", min=0, help="Answer every turn of N conversations too.")
    ] = 0,
    keep: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Keep every row there as it is done; stopped, run the same command again."),
    ] = None,
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Also answer with the gold passages shown and without any: where answers are lost.")
    ] = False,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Measure the base chain, each adapter alone and all of them on FOLDER/test, each against the base item by item.

    Also shown: retrieval by raw, rewritten and gold question, the judge in full, support of answers, time and tokens. Every item
    that was unparsed or failed is listed.
    """
    import lorag
    from lorag.evaluating.details import usage_json

    with lorag.open(project) as opened, progress_bars() as bars:
        bars.begin(REQUESTS)
        try:
            found = opened.evaluate(
                data,
                limit=limit,
                conversations=conversations,
                out=keep,
                diagnose=diagnose,
                on_progress=lambda what, done, total: bars.update(REQUESTS, done, total, what),
                on_documents=lambda done, total: bars.update(DOCUMENTS, done, total),
            )
        except KeyboardInterrupt:
            stays = f"finished rows stay in {keep}; run the same command to go on" if keep else "nothing was kept; see --out"
            raise Interrupted(f"the evaluation stopped: {stays}") from None
    if output is Format.JSON:
        show_json({**found.to_json(), "usage": usage_json(found.usage)})
    else:
        show_decisions(found.decisions, project)
        for line in found.floors.wins:
            show(line)
        _show_ablation(found.ablation)
        _show_floors(found.floors)
        _show_comparisons(found.comparisons)
        show_details(found.details, found.usage)
        for note in found.notes:
            show(note)


def _show_ablation(ablation: Ablation) -> None:
    """A row per metric and a column per configuration: terminals are narrow, and there are more metrics."""
    rows = table("metric", *(f">{row.configuration}" for row in ablation.rows), title="Means over the test items")
    for metric in ablation.metrics:
        cells = (row.cells.get(metric) for row in ablation.rows)
        rows.add_row(cell(metric), *("" if found is None else f"{found.value:.3f}" for found in cells))
    out().print(rows)


def _show_floors(floors: FloorFigures) -> None:
    """A row per comparison with the best system without training, those that it wins first."""
    columns = ("role", "metric", "best floor", ">floor", ">tuned", ">difference", ">95 % interval", ">n, groups", "")
    rows = table(*columns, title="Paired with the best floor, a system without training")
    for each in sorted(floors.comparisons, key=lambda each: each.beaten):
        figures = (
            f"{each.reference:.3f}",
            f"{each.tuned:.3f}",
            f"{each.difference:+.3f}",
            f"{each.low:+.3f} to {each.high:+.3f}",
        )
        verdict = "better" if each.beaten else "the floor wins"
        rows.add_row(cell(each.role), cell(each.metric), cell(each.floor), *figures, f"{each.n}, {each.groups}", verdict)
    if floors.comparisons:
        out().print(rows)


def _show_comparisons(comparisons: Sequence[Comparison]) -> None:
    columns = ("role", "metric", ">base", ">tuned", ">difference", ">interval", ">level", ">n, groups", "")
    rows = table(*columns, title="Paired with the base")
    for each in comparisons:
        figures = (f"{each.base:.3f}", f"{each.tuned:.3f}", f"{each.difference:+.3f}", f"{each.low:+.3f} to {each.high:+.3f}")
        sizes = (f"{100 * each.level:.4g} %", f"{each.n}, {each.groups}")
        rows.add_row(cell(each.role), cell(each.metric), *figures, *sizes, "more than noise" if each.shown else "")
    out().print(rows)


@app.command("adapter")
def adapter(
    role: Annotated[Tuned, typer.Argument(help="Which adapter.")],
    data: DataFolder,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A version or alias.")] = "candidate",
    general: Annotated[
        Path | None,
        typer.Option("--general", metavar="DIR", help="A BEIR or data folder of another domain: what was lost there."),
    ] = None,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Compare a version with what serves now, the bare base and the floors on FOLDER/test; the result goes on its card.

    Each look at a test set is written down, and the more there were, the more certain the next one must be.
    """
    import lorag
    from lorag.pipeline.storage.strict_json import plain

    with lorag.open(project) as opened, progress_bars() as bars:
        bars.begin(REQUESTS)
        found = opened.evaluate_adapter(
            role.value,
            data,
            version,
            general=general,
            on_progress=lambda what, done, total: bars.update(REQUESTS, done, total, what),
            on_documents=lambda done, total: bars.update(DOCUMENTS, done, total),
            on_texts=lambda done, total: bars.update(TEXTS, done, total),
        )
    evidence = [*found.claims, *([found.general] if found.general else [])]
    if output is Format.JSON:
        said = {"decision": plain(found.decision), "look": found.claims[0].look, "refusal": found.refusal or None}
        show_json({"role": role.value, "version": found.version.id, "evidence": plain(evidence), **said})
        return
    show_decisions([found.decision], project)
    show_evidence(evidence)
    _show_next_step(found, project)


def _show_next_step(found: AdapterEvaluation, project: Path) -> None:
    """The command for a promotion, if the evidence on the adapter's card allows one."""
    version, measured = found.version, found.claims[0]
    promotion = command("adapters", "promote", version.role.value, version.id, project=project)
    if found.refusal or "production" in version.aliases:
        return
    if measured.data.origin is DataOrigin.MADE:
        show(f"These rows are made, but an earlier claim allows `{promotion}`.")
    else:
        show(f"The evidence allows it: let it serve with `{promotion}`.")
