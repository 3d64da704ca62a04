"""`lorag ask`: one question, its answer and the citations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorag.services.answer_view import show_answer, show_trace
from lorag.services.options import HERE, Format, Output, Project
from lorag.services.terminal import show_json, working


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question, in quotes.")],
    project: Project = HERE,
    history: Annotated[
        Path | None, typer.Option("--history", metavar="FILE", help='The conversation before: a JSON list of turns "User: …".')
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Show every stage. JSON always holds it.")] = False,
    output: Output = Format.TEXT,
) -> None:
    """Answer a question from the documents, each citation with the words it quotes."""
    from lorag.conversation import query_of, read_history
    from lorag.pipeline.response_json import response_json
    from lorag.services.served import open_project

    query = query_of(question, read_history(history) if history else ())
    with open_project(project) as opened:
        with working("loading the models"):
            opened.load()
        with working("answering"):
            response = opened.ask(query)
    if output is Format.JSON:
        show_json(response_json(response))
        return
    show_answer(response)
    if trace:
        show_trace(response)
