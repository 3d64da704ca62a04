"""`lorag eval`: retrieval on a public set, the whole chain on the project's own, one adapter against its base."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import InputError
from pipeline.records import Role
from services.commands.adapters import show_evidence
from services.options import HERE, DataFolder, Format, Output, Project, Tuned
from services.terminal import cell, out, progress_bars, show, show_json, table

if TYPE_CHECKING:
    from pipeline.evaluation.report import Ablation, Comparison
    from pipeline.retrieval.embedder import Embedder

app = typer.Typer(no_args_is_help=True, help="Measure: retrieval on a BEIR set, the chain or one adapter on held-out rows.")

NO_ADAPTER = "none"
REQUESTS = "requests"


@app.command("retrieval")
def retrieval(
    beir: Annotated[Path, typer.Option("--beir", metavar="DIR", help="corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.")],
    embedder: Annotated[str, typer.Option("--embedder", metavar="ID", help="minilm, a hub id or a folder.")] = "minilm",
    adapter: Annotated[
        str, typer.Option("--adapter", metavar="NAME", help="Version or alias of the project's embedder adapter.")
    ] = NO_ADAPTER,
    k: Annotated[int, typer.Option("-k", min=1, help="Passages looked at for each query.")] = 10,
    split: Annotated[str, typer.Option("--split", help="Which judgments.")] = "test",
    ignore_same_id: Annotated[
        bool, typer.Option("--ignore-same-id", help="Drop passages with the query's own id: for ArguAna and Quora.")
    ] = False,
    run_out: Annotated[Path | None, typer.Option("--run-out", metavar="FILE", help="Write the rankings in TREC format.")] = None,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Embed a BEIR collection, search it exhaustively and score the rankings."""
    from pipeline.evaluation.retrieval import evaluate_beir
    from pipeline.evaluation.trec import write_run

    if run_out is not None and not run_out.parent.is_dir():
        raise InputError(f"{run_out.parent}: no such folder; make it first, the run of --run-out goes there")
    encoder = _encoder(embedder, adapter, project)
    with progress_bars() as bars:
        bars.begin("texts")
        result = evaluate_beir(
            beir,
            encoder,
            k,
            split=split,
            ignore_same_id=ignore_same_id,
            progress=lambda done, total: bars.update("texts", done, total),
        )
    if run_out is not None:
        write_run(result.run, run_out)
    if output is Format.JSON:
        show_json(result.scores.to_json())
        return
    rows = table("metric", ">mean")
    for name, mean in result.scores.means.items():
        rows.add_row(cell(name), f"{mean:.4f}")
    out().print(rows)
    show(f"over {result.scores.queries} queries of {beir} ({split}), by {encoder.identity.describe()}")


def _encoder(name: str, adapter: str, project: Path) -> Embedder:
    """The encoder by name, with the project's adapter, proven, where one is asked for: only then is there a need of a project."""
    from pipeline.retrieval.embedder import SentenceTransformerEmbedder

    if adapter == NO_ADAPTER:
        return SentenceTransformerEmbedder(name)
    from pipeline.assembly import open_embedder
    from pipeline.config import load_settings

    settings = load_settings(project)
    adapters = settings.adapters.model_copy(update={"embedder": adapter})
    chosen = settings.embedder.model_copy(update={"model": name})
    return open_embedder(settings.model_copy(update={"adapters": adapters, "embedder": chosen}))


@app.command("chain")
def chain(
    data: DataFolder,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only N test items.", show_default="all")
    ] = None,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Measure the base chain, each adapter alone and all of them on FOLDER/test, each against the base item by item."""
    from pipeline.config import load_settings
    from services.evaluation import evaluate_chain

    settings = load_settings(project)
    with progress_bars() as bars:
        bars.begin(REQUESTS)
        found = evaluate_chain(settings, data, limit, lambda what, done, total: bars.update(REQUESTS, done, total, what))
    if output is Format.JSON:
        show_json(found.to_json())
    else:
        _show_ablation(found.ablation)
        _show_comparisons(found.comparisons)


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
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Compare a version with the bare base on FOLDER/test, item by item, and put the result on its card."""
    from pipeline.config import load_settings
    from services.evaluation import evaluate_adapter

    settings = load_settings(project)
    with progress_bars() as bars:
        bars.begin(REQUESTS)
        measured, evidence = evaluate_adapter(
            settings, Role(role.value), version, data, lambda what, done, total: bars.update(REQUESTS, done, total, what)
        )
    if output is Format.JSON:
        show_json({"role": role.value, "version": measured.id, "evidence": [dataclasses.asdict(evidence)]})
        return
    show_evidence((evidence,))
    if evidence.low > 0:
        show(f"{measured.id} is better: let it serve with `lorag adapters promote {role.value} {version}`.")
    else:
        show(f"That {measured.id} is better is not shown: train it further, or evaluate it on more items.")
