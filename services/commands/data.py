"""`lorag data`: imports data sets into a folder that the other commands read, and makes rows from documents."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.services.commands.data_making import made_json, show_made, show_making_plan
from lorag.services.options import HERE, Format, Output, Project
from lorag.services.terminal import cell, out, progress_bars, show, show_json, table, working

if TYPE_CHECKING:
    from lorag.training.data.formats.folder import ImportReport

app = typer.Typer(no_args_is_help=True, help="Data folders: make rows from documents, import data sets.")


class Kind(StrEnum):
    """The formats that are read."""

    SQUAD = "squad"
    REWRITING = "rewriting"
    MTRAG = "mtrag"
    PUBLIC = "public"
    OWN = "own"


@app.command("import")
def import_(
    kind: Annotated[
        Kind,
        typer.Argument(
            metavar="FORMAT",
            help="squad: SQuAD JSON, 1.1 or 2.0. rewriting: QReCC or CANARD. mtrag: MT-RAG tasks, with *_rewrite.jsonl beside "
            "them if wanted. public: JSON Lines with passages, questions, rewrites or labels. own: LoRAG's rows, unsplit.",
        ),
    ],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of the set; .gz too.")],
    out_folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to make.")],
    dev: Annotated[float, typer.Option("--dev", help="Share of the rows for dev.")] = 0.1,
    test: Annotated[float, typer.Option("--test", help="Share of the rows for test.")] = 0.2,
    withhold: Annotated[
        float,
        typer.Option("--withhold", help="Share of the asked passages kept out, so that their questions call for a refusal."),
    ] = 0.0,
    documents: Annotated[
        int | None, typer.Option("--documents", metavar="N", min=1, help="Only N documents.", show_default="all")
    ] = None,
    max_chars: Annotated[int, typer.Option("--max-chars", min=100, help="chunking.max_chars of the project to come.")] = 700,
    min_chars: Annotated[int, typer.Option("--min-chars", min=0, help="chunking.min_chars of the project to come.")] = 120,
    embedder: Annotated[
        str, typer.Option("--embedder", help="embedder.model of the project to come: passages fit what it reads.")
    ] = "minilm",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn; a project's `seed` has no part in it.")] = 0,
    output: Output = Format.TEXT,
) -> None:
    """Make DIR: documents/, passages.jsonl, and train/, dev/, test/ with the rows of each role.

    Rows are split by document and by conversation. Rows that cannot be used are counted, and listed in DIR/left-out.jsonl.
    """
    from lorag.data_import import import_data
    from lorag.pipeline.retrieval.encoder_tokens import EncoderTokens
    from lorag.pipeline.retrieval.ingest import Chunking
    from lorag.training.data.formats.folder import Options
    from lorag.training.data.formats.splitting import Shares

    options = Options(Chunking(max_chars, min_chars, EncoderTokens(embedder)), Shares(dev, test), seed, documents or 0, withhold)
    with working(f"reading {len(files)} file(s)"):
        report = import_data(kind.value, files, out_folder, options)
    if output is Format.JSON:
        show_json(report.to_json())
        return
    show_import(report, out_folder)


def show_import(report: ImportReport, folder: Path) -> None:
    """The rows of a data folder that was made, and what was left out."""
    from lorag.training.data.formats.folder import INTENTS, LEFT_OUT

    roles = list(dict.fromkeys(role for held in report.rows.values() for role in held))
    rows = table("rows", *(f">{role}" for role in roles))
    for split, held in report.rows.items():
        rows.add_row(cell(split), *(str(held.get(role, 0)) for role in roles))
    out().print(rows)
    show(f"{report.documents} documents, {report.passages} passages." if report.documents else f"{report.passages} passages.")
    for reason, number in sorted(report.left_out.items(), key=lambda item: -item[1]):
        show(f"left out: {number}, {reason}")
    if report.left_out:
        show(f"Each of them is named in {folder / LEFT_OUT}.")
    if report.passed_over:
        keys = ", ".join(f'"{key}" ({number})' for key, number in sorted(report.passed_over.items()))
        show(f"keys that this format does not have, passed over: {keys}")
    if (folder / INTENTS).is_file():
        show(f"The labels are intents; put `judge.intents` of {folder / INTENTS} into the project's lorag.yaml.")
    if report.documents:
        show("Next:")
        show(f"  {shlex.join(['lorag', 'init', 'PROJECT', '--docs', str(folder / 'documents')])}")


@app.command("make")
def make(
    out_folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to make.")],
    project: Project = HERE,
    per_passage: Annotated[
        int, typer.Option("--per-passage", metavar="N", min=1, max=12, help="At most N questions a passage.")
    ] = 3,
    human: Annotated[
        Path | None,
        typer.Option(
            "--human",
            metavar="FOLDER",
            help="Rows that people wrote, in train/, dev/, test/: they are added, and no training row is made of the documents "
            "of their test rows.",
            show_default="none",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", metavar="N", min=1, help="Ask no more than fits into N minutes.", show_default="no limit"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn; a project's `seed` has no part in it.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be asked and how long it takes.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run of the same DIR that was stopped.")] = False,
    output: Output = Format.TEXT,
) -> None:
    """Make training rows from the project's documents alone: DIR with passages.jsonl and train/, dev/, test/, a file a role.

    Questions are written to spans of the documents and filtered; DIR/README.md has the funnel and twenty rows to read. A run that
    was stopped goes on with --resume and gives the same bytes.
    """
    import lorag
    from lorag.making import MakingSpec, make_rows, plan_making

    spec = MakingSpec(out_folder, per_passage, human, minutes, seed, resume)
    with lorag.open(project) as opened:
        settings = opened.settings
    if dry_run:
        with working("timing the model"):
            plan = plan_making(settings, spec)
        show_json(plan.to_json()) if output is Format.JSON else show_making_plan(plan)
        return
    with progress_bars() as bars:
        made = make_rows(settings, spec, bars.update)
    show_json(made_json(made)) if output is Format.JSON else show_made(made, out_folder, project)
