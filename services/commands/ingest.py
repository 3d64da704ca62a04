"""`lorag ingest`: updates the index from the documents folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorag.services.options import HERE, Format, Output, Project
from lorag.services.terminal import progress_bars, say, show, show_json

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.ingest import IngestReport


def ingest(
    project: Project = HERE,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Fill a new index beside the old one, then switch: after a change of embedder.")
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Read the documents into the index: only what is new, changed or gone. After a stop, run it again and it continues."""
    import lorag

    with lorag.open(project) as opened, progress_bars() as bars:
        bars.begin("documents")
        report = opened.ingest(rebuild=rebuild, on_progress=lambda done, total, name: bars.update("documents", done, total, name))
    for skipped in report.failed:
        say(f"not read: {skipped}")
    if output is Format.JSON:
        show_json(_as_json(report))
    else:
        show(
            f"{report.passages} passages. Documents: {report.added} added, {report.changed} changed, {report.unchanged} "
            f"unchanged, {report.removed} removed, {len(report.failed)} failed, {len(report.ignored)} of other kinds left alone."
        )


def _as_json(report: IngestReport) -> dict[str, Any]:
    return {
        "collection": report.collection,
        "passages": report.passages,
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "failed": [{"path": skipped.path, "reason": skipped.reason} for skipped in report.failed],
        "ignored": list(report.ignored),
    }
