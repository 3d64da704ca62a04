"""`lorag feedback`: what users said of answers, as a list, as files for other tools and as training rows."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorag.services.options import HERE, Format, Output, Project
from lorag.services.terminal import cell, for_project, out, say, show, show_json, table, working

if TYPE_CHECKING:
    from lorag.feedback import ProjectFeedback
    from lorag.pipeline.feedback.records import Feedback, Opinion


class Form(StrEnum):
    """The forms of `lorag.feedback_export`."""

    LORAG = "lorag"
    LANGFUSE = "langfuse"
    OPENWEBUI = "openwebui"


app = typer.Typer(no_args_is_help=True, help="What users said of answers: list it, export it, make training rows of it.")

Tenant = Annotated[
    str, typer.Option("--tenant", metavar="TENANT", help="Feedback of this tenant's keys.", show_default="the project's own")
]


@app.command("list")
def list_feedback(tenant: Tenant = "", project: Project = HERE, output: Output = Format.TEXT) -> None:
    """Feedback by answer, oldest first: when, by whose key, what was asked, and what was said of the answer."""
    from lorag.pipeline.storage.strict_json import plain

    given = _open(project)
    held = given.list(tenant)
    _warn(held.problems)
    if output is Format.JSON:
        show_json({"feedback": [plain(each) for each in held.entries]})
        return
    if held.entries:
        rows = table("given", "by", "question", "answer", "said")
        for each in held.entries:
            rows.add_row(*map(cell, _fields(each)))
        out().print(rows)
    else:
        show("No feedback yet; it comes from the page of `lorag serve` and from POST /v1/feedback.")
    _tell_of_others(given, tenant, project)


@app.command("export")
def export(
    out_file: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write.")],
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            help="lorag: JSON Lines of all that is kept. langfuse: JSON Lines of events for its ingestion API. "
            "openwebui: the JSON list of its own export.",
        ),
    ] = Form.LORAG,
    tenant: Tenant = "",
    project: Project = HERE,
) -> None:
    """Write feedback to a file for another tool, whole or not at all."""
    given = _open(project)
    _warn(given.list(tenant).problems)
    number = given.export(out_file, form.value, tenant=tenant)
    show(f"{out_file}: feedback on {number} answer{'' if number == 1 else 's'}.")
    _tell_of_others(given, tenant, project)


@app.command("rows")
def rows(
    out_folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to make.")],
    beside: Annotated[
        Path | None,
        typer.Option(
            "--beside",
            metavar="ROWS",
            help="Data folder that is used together with it: what ROWS trains on is not tested here, nor the reverse.",
            show_default=False,
        ),
    ] = None,
    dev: Annotated[float, typer.Option("--dev", help="Share of the rows for dev.")] = 0.1,
    test: Annotated[float, typer.Option("--test", help="Share of the rows for test.")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn.")] = 0,
    tenant: Tenant = "",
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Make DIR: passages.jsonl of the documents as they are now, and train/, dev/, test/ with the rows that feedback speaks for.

    Rows are split by document and conversation, and a conversation stays in its split at the next call. Feedback that makes no
    row is counted, and listed in DIR/left-out.jsonl. Read feedback before you train on it: anybody with a key of scope `ask` can
    give it.
    """
    import lorag
    from lorag.services.commands.data import show_import

    with lorag.open(project) as opened, working("making rows of feedback"):
        given = opened.feedback
        problems = given.list(tenant).problems
        report = given.rows(out_folder, tenant=tenant, dev=dev, test=test, seed=seed, beside=beside)
    _warn(problems)
    if output is Format.JSON:
        show_json(report.to_json())
        return
    show_import(report, out_folder)
    if test > 0 and not report.rows["test"]:
        say("Nothing was held out for test: too few conversations, or all are tied to one document. Collect more.")
    _tell_of_others(given, tenant, project)


def _fields(each: Feedback) -> tuple[str, ...]:
    trace = each.trace
    asked = trace.question if trace.rewrite == trace.question else f"{trace.question} → {trace.rewrite}"
    return each.given, each.given_by, _short(asked), _short(trace.answer), _short(_said(each.opinion), 300)


def _said(opinion: Opinion) -> str:
    """What an opinion says, in words."""
    parts: dict[str, Any] = {
        "rated": opinion.rating.value if opinion.rating else "",
        "because": ", ".join(opinion.reasons),
        "not in the documents": "yes" if opinion.not_in_documents else "",
        "right answer": opinion.answer,
        "right question": opinion.question,
        "wrong source": ", ".join(opinion.wrong_passages),
        "right source": ", ".join(opinion.right_passages),
        "comment": opinion.comment,
    }
    return "; ".join(f"{name}: {text}" for name, text in parts.items() if text)


def _short(text: str, most: int = 120) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def _tell_of_others(given: ProjectFeedback, tenant: str, project: Path) -> None:
    """Name the tenants with feedback that was not shown."""
    others = {name: number for name, number in given.counts().items() if name != tenant}
    if others:
        named = ", ".join(f"{name or '(the project)'} {number}" for name, number in others.items())
        say(for_project(f"Feedback of others, by tenant: {named}; see `lorag feedback list --tenant TENANT`.", project))


def _warn(problems: tuple[str, ...]) -> None:
    for line in problems:
        say(f"left alone: {line}")


def _open(project: Path) -> ProjectFeedback:
    import lorag

    return lorag.open(project).feedback
