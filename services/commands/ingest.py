"""`lorag ingest`: updates the index from the documents folder, and accounts for every file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorag.services.options import HERE, Format, Output, Project
from lorag.services.terminal import progress_bars, say, show, show_json

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.account import FileAccount
    from lorag.pipeline.retrieval.ingest import IngestReport


def ingest(
    project: Project = HERE,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Fill a new index beside the old one, then switch: after a change of embedder.")
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Read the documents into the index: only what is new, changed or gone. After a stop, run it again and it continues."""
    from lorag.pipeline.retrieval.ingest import NAMED_IN_ERROR, NoDocuments
    from lorag.services.served import open_project

    try:
        with open_project(project) as opened, progress_bars() as bars:
            bars.begin("documents")
            report = opened.ingest(
                rebuild=rebuild, on_progress=lambda done, total, name: bars.update("documents", done, total, name)
            )
    except NoDocuments as error:
        if output is Format.JSON:
            show_json(_files_as_json(error.files))
        elif len(error.files) > NAMED_IN_ERROR:
            _say_files(error.files)
        raise
    if output is Format.JSON:
        show_json(_as_json(report))
        return
    from lorag.pipeline.retrieval.account import names

    _say_files(report.files)
    if report.gone:
        say(f"gone, and removed from the index: {names(report.gone)}")
    show(f"{len(report.files)} files: {_counted(report.files)}.")
    show(
        f"{report.passages} passages. Documents: {report.added} added, {report.changed} changed, {report.unchanged} "
        f"unchanged, {report.removed} removed."
    )
    for line in report.advice:
        say(f"note: {line}")


def _say_files(files: Sequence[FileAccount]) -> None:
    from lorag.pipeline.retrieval.account import remarks

    for line in remarks(files):
        say(line)


def _counted(files: Sequence[FileAccount]) -> str:
    from lorag.pipeline.retrieval.account import FileStatus, counts

    words = {
        FileStatus.READ: "read",
        FileStatus.IN_PART: "read in part",
        FileStatus.LEFT_ALONE: "left alone",
        FileStatus.FAILED: "failed",
        FileStatus.KEPT: "kept in their old version",
    }
    return ", ".join(f"{number} {words[status]}" for status, number in counts(files).items())


def _as_json(report: IngestReport) -> dict[str, Any]:
    return {
        "collection": report.collection,
        "passages": report.passages,
        "added": report.added,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "removed": report.removed,
        **_files_as_json(report.files),
        "gone": list(report.gone),
        "advice": list(report.advice),
    }


def _files_as_json(files: Sequence[FileAccount]) -> dict[str, Any]:
    from lorag.pipeline.retrieval.account import counts

    return {"counts": {"seen": len(files), **counts(files)}, "files": list(_rows(files))}


def _rows(files: Sequence[FileAccount]) -> Iterator[dict[str, Any]]:
    for file in files:
        yield {"path": file.path, "status": file.status, "documents": file.documents, "notes": list(file.notes)}
