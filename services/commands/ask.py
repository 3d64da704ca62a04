"""`lorag ask`: one question, its answer and what the answer rests on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from lorag.services.answer_view import show_answer, show_trace
from lorag.services.history import read_history
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
    """Answer a question from the documents, each citation with the words it rests on."""
    from lorag.assembly import open_chain, open_index
    from lorag.pipeline.chain import check_query
    from lorag.pipeline.config import load_settings
    from lorag.pipeline.records import Query
    from lorag.pipeline.response_json import response_json

    query = Query(question, read_history(history) if history else ())
    check_query(query)
    settings = load_settings(project)
    with closing(open_index(settings)) as index:
        with working("loading the models"):
            chain = open_chain(settings, index=index)
        with working("answering"):
            response = chain.ask(query)
    if output is Format.JSON:
        show_json(response_json(response))
        return
    show_answer(response)
    if trace:
        show_trace(response)
