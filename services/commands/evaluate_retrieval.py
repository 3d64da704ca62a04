"""`lorag eval retrieval`: an embedder on a BEIR folder, or a run made elsewhere, scored by the reference implementation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.pipeline.errors import InputError
from lorag.services.options import HERE, Format, Output, Project
from lorag.services.terminal import cell, out, progress_bars, show, show_json, table

if TYPE_CHECKING:
    from lorag.pipeline.evaluation.retrieval import RetrievalScores
    from lorag.pipeline.evaluation.trec import Qrels, Run
    from lorag.pipeline.retrieval.embedder import Embedder

NO_ADAPTER = "none"


def retrieval(
    beir: Annotated[
        Path | None, typer.Option("--beir", metavar="DIR", help="corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.")
    ] = None,
    embedder: Annotated[str, typer.Option("--embedder", metavar="ID", help="minilm, a hub id or a folder.")] = "minilm",
    adapter: Annotated[
        str, typer.Option("--adapter", metavar="NAME", help="Version or alias of the project's embedder adapter.")
    ] = NO_ADAPTER,
    hybrid: Annotated[
        bool, typer.Option("--hybrid", help="Vectors, BM25 words and token vectors together, as an index does.")
    ] = False,
    reranker: Annotated[
        str | None, typer.Option("--rerank", metavar="ID", help="A cross-encoder, hub id or folder, orders the found anew.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Passages looked at for each query.")] = 10,
    split: Annotated[str, typer.Option("--split", help="Which judgments.")] = "test",
    ignore_same_id: Annotated[
        bool, typer.Option("--ignore-same-id", help="Drop passages with the query's own id: for ArguAna and Quora.")
    ] = False,
    run_in: Annotated[
        Path | None,
        typer.Option("--run", metavar="FILE", help="Score this run instead of searching: TREC text, or ranx's .json."),
    ] = None,
    qrels_in: Annotated[
        Path | None,
        typer.Option("--qrels", metavar="FILE", help="Judgments for --run if there is no --beir: TREC text, or ranx's .json."),
    ] = None,
    run_out: Annotated[
        Path | None, typer.Option("--run-out", metavar="FILE", help="Write the rankings as TREC text, or as ranx's .json.")
    ] = None,
    qrels_out: Annotated[
        Path | None, typer.Option("--qrels-out", metavar="FILE", help="Write the judgments as TREC text, or as ranx's .json.")
    ] = None,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Embed a BEIR collection, search it and score the rankings; or score rankings that another tool made (--run)."""
    from lorag.pipeline.evaluation.run_files import write_qrels, write_run

    for path in (run_out, qrels_out):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder; make it first, {path.name} goes there")
    if run_in is not None:
        scores, run, qrels = _scored(run_in, beir, qrels_in, split, k)
        by = str(run_in)
    elif beir is None or qrels_in is not None:
        raise InputError("name a BEIR folder with --beir, or a run to score with --run and its --qrels")
    else:
        encoder = _encoder(embedder, adapter, project)
        scores, run, qrels = _searched(beir, encoder, k, split, ignore_same_id, hybrid, reranker)
        by = (
            encoder.identity.describe()
            + (" with BM25 and late interaction" if hybrid else "")
            + (f", reranked by {reranker}" if reranker else "")
        )
    if run_out is not None:
        write_run(run, run_out)
    if qrels_out is not None:
        write_qrels(qrels, qrels_out)
    if output is Format.JSON:
        show_json(scores.to_json())
    else:
        _show(scores, f"over {scores.queries} queries of {beir or qrels_in} ({split}), by {by}")


def _searched(
    beir: Path, encoder: Embedder, k: int, split: str, ignore_same_id: bool, hybrid: bool, reranker: str | None
) -> tuple[RetrievalScores, Run, Qrels]:
    from lorag.pipeline.evaluation.retrieval import evaluate_beir
    from lorag.pipeline.retrieval.rerank import CrossEncoderReranker

    with progress_bars() as bars:
        bars.begin("texts")
        result = evaluate_beir(
            beir,
            encoder,
            k,
            split=split,
            ignore_same_id=ignore_same_id,
            hybrid=hybrid,
            reranker=CrossEncoderReranker(reranker) if reranker else None,
            progress=lambda done, total: bars.update("texts", done, total),
        )
    return result.scores, result.run, result.qrels


def _scored(run_in: Path, beir: Path | None, qrels_in: Path | None, split: str, k: int) -> tuple[RetrievalScores, Run, Qrels]:
    """Score a run made elsewhere by the judgments of a TREC file or of the BEIR folder."""
    from lorag.pipeline.evaluation.beir import read_beir
    from lorag.pipeline.evaluation.retrieval import default_metrics, score_run
    from lorag.pipeline.evaluation.run_files import read_qrels, read_run

    if (beir is None) == (qrels_in is None):
        raise InputError("--run needs judgments: name them with --qrels FILE or with --beir DIR, one of the two")
    qrels = read_qrels(qrels_in) if qrels_in is not None else read_beir(beir or Path(), split).qrels
    run = read_run(run_in)
    return score_run(qrels, run, default_metrics(k)), run, qrels


def _encoder(name: str, adapter: str, project: Path) -> Embedder:
    """The encoder by name, with the project's proven adapter if `adapter` names one. Only an adapter needs a project."""
    from lorag.pipeline.retrieval.embedder import SentenceTransformerEmbedder

    if adapter == NO_ADAPTER:
        return SentenceTransformerEmbedder(name)
    import lorag
    from lorag.assembly import open_embedder_of

    return open_embedder_of(lorag.open(project).settings, name, adapter)


def _show(scores: RetrievalScores, caption: str) -> None:
    rows = table("metric", ">mean")
    for name, mean in scores.means.items():
        rows.add_row(cell(name), f"{mean:.4f}")
    out().print(rows)
    show(caption)
    if scores.without_results:
        show(f"{len(scores.without_results)} of them without results, counted as 0, such as {scores.without_results[0]}")
    if scores.not_judged:
        show(f"{len(scores.not_judged)} queries of the run have no judgments and no score, such as {scores.not_judged[0]}")
