"""`lorag eval`: retrieval on a public set, the whole chain on the project's own, one adapter against its base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.pipeline.records import Role
from lorag.services.commands.adapters import show_evidence
from lorag.services.commands.evaluate_details import show_details
from lorag.services.commands.evaluate_retrieval import retrieval
from lorag.services.failures import Interrupted
from lorag.services.options import HERE, DataFolder, Format, Output, Project, Tuned
from lorag.services.terminal import cell, out, progress_bars, show, show_json, table

if TYPE_CHECKING:
    from lorag.pipeline.evaluation.report import Ablation, Comparison

app = typer.Typer(no_args_is_help=True, help="Measure: retrieval on a BEIR set, the chain or one adapter on held-out rows.")

REQUESTS, DOCUMENTS, TEXTS = "requests", "documents", "texts of the general set"


app.command("retrieval")(retrieval)


@app.command("chain")
def chain(
    data: DataFolder,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only N test items.", show_default="all")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Keep every row there as it is done; stopped, run the same command again."),
    ] = None,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Measure the base chain, each adapter alone and all of them on FOLDER/test, each against the base item by item.

    Beside the table: retrieval by raw, rewritten and gold question, the judge in full, support of answers, time and tokens, and
    every item that was unparsed or failed.
    """
    from lorag.evaluating.details import usage_json
    from lorag.evaluating.evaluation import evaluate_chain
    from lorag.pipeline.config import load_settings

    settings = load_settings(project)
    with progress_bars() as bars:
        bars.begin(REQUESTS)
        try:
            found = evaluate_chain(
                settings,
                data,
                limit,
                lambda what, done, total: bars.update(REQUESTS, done, total, what),
                out=keep,
                on_documents=lambda done, total: bars.update(DOCUMENTS, done, total),
            )
        except KeyboardInterrupt:
            stays = f"finished rows stay in {keep}; run the same command to go on" if keep else "nothing was kept; see --out"
            raise Interrupted(f"the evaluation stopped: {stays}") from None
    if output is Format.JSON:
        show_json({**found.to_json(), "usage": usage_json(found.usage)})
    else:
        _show_ablation(found.ablation)
        _show_comparisons(found.comparisons)
        show_details(found.details, found.usage)
        for note in found.notes:
            show(note)


def _show_ablation(ablation: Ablation) -> None:
    """A line a metric, a column a configuration: terminals are narrow, and there are more metrics."""
    rows = table("metric", *(f">{row.configuration}" for row in ablation.rows), title="Means over the test items")
    for metric in ablation.metrics:
        cells = (row.cells.get(metric) for row in ablation.rows)
        rows.add_row(cell(metric), *("" if found is None else f"{found.value:.3f}" for found in cells))
    out().print(rows)


def _show_comparisons(comparisons: Sequence[Comparison]) -> None:
    rows = table("role", "metric", ">base", ">tuned", ">difference", ">95 % interval", ">n", title="Paired with the base")
    for each in comparisons:
        figures = (f"{each.base:.3f}", f"{each.tuned:.3f}", f"{each.difference:+.3f}", f"{each.low:+.3f} to {each.high:+.3f}")
        rows.add_row(cell(each.role), cell(each.metric), *figures, str(each.n))
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
    """Compare a version with the bare base on FOLDER/test, item by item, and put the result on its card."""
    from lorag.evaluating.elsewhere import GeneralSet, measure_elsewhere, read_general
    from lorag.evaluating.evaluation import evaluate_adapter, left_out_stages
    from lorag.pipeline.config import load_settings
    from lorag.pipeline.errors import InputError
    from lorag.pipeline.storage.strict_json import plain

    tests: GeneralSet | None = None
    if general is not None:
        if role is not Tuned.EMBEDDER:
            raise InputError(f"--general is for the embedder; the {role.value} answers no search")
        tests = read_general(general)  # a folder that cannot be read is told before the first measurement
    settings = load_settings(project)
    with progress_bars() as bars:
        bars.begin(REQUESTS)
        measured, evidence = evaluate_adapter(
            settings,
            Role(role.value),
            version,
            data,
            lambda what, done, total: bars.update(REQUESTS, done, total, what),
            on_documents=lambda done, total: bars.update(DOCUMENTS, done, total),
        )
        found = [evidence]
        if tests is not None:
            bars.begin(TEXTS)
            found += [measure_elsewhere(settings, measured.id, tests, lambda done, total: bars.update(TEXTS, done, total))[1]]
    if output is Format.JSON:
        show_json({"role": role.value, "version": measured.id, "evidence": plain(found)})
        return
    show_evidence(found)
    for note in left_out_stages(settings):
        show(note)
    if evidence.low > 0:
        show(f"{measured.id} is better: let it serve with `lorag adapters promote {role.value} {version}`.")
    else:
        show(f"That {measured.id} is better is not shown: train it further, or evaluate it on more items.")
