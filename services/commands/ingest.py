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

_NAMED = 10
"""Files named in one line of text; `-o json` names all."""


def ingest(
    project: Project = HERE,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Fill a new index beside the old one, then switch: after a change of embedder.")
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Read the documents into the index: only what is new, changed or gone. After a stop, run it again and it continues."""
    import lorag
    from lorag.pipeline.retrieval.ingest import NAMED_IN_ERROR, NoDocuments

    try:
        with lorag.open(project) as opened, progress_bars() as bars:
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
    _say_files(report.files)
    if report.gone:
        say(f"gone, and removed from the index: {_names(report.gone)}")
    show(f"{len(report.files)} files: {_counted(report.files)}.")
    show(
        f"{report.passages} passages. Documents: {report.added} added, {report.changed} changed, {report.unchanged} "
        f"unchanged, {report.removed} removed."
    )


def _say_files(files: Sequence[FileAccount]) -> None:
    """A line for each file with something to say; those left alone for one reason share a line."""
    from lorag.pipeline.retrieval.account import FileStatus

    heads = {
        FileStatus.READ: "read",
        FileStatus.IN_PART: "read in part",
        FileStatus.FAILED: "not read",
        FileStatus.KEPT: "not read",
    }
    left: dict[str, list[str]] = {}
    for file in files:
        if file.status is FileStatus.LEFT_ALONE:
            left.setdefault("; ".join(file.notes), []).append(file.path)
        elif file.notes:
            say(f"{heads[file.status]}: {file}")
    for reason, paths in left.items():
        say(f"left alone: {_names(paths)}: {reason}")


def _names(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:_NAMED])
    return f"{shown} and {len(paths) - _NAMED} more (-o json names all)" if len(paths) > _NAMED else shown


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
    }


def _files_as_json(files: Sequence[FileAccount]) -> dict[str, Any]:
    from lorag.pipeline.retrieval.account import counts

    return {"counts": {"seen": len(files), **counts(files)}, "files": list(_rows(files))}


def _rows(files: Sequence[FileAccount]) -> Iterator[dict[str, Any]]:
    for file in files:
        yield {"path": file.path, "status": file.status, "documents": file.documents, "notes": list(file.notes)}
