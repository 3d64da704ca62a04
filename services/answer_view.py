"""A response for a terminal: the answer, each citation with the words it quotes, and on request every stage."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.records import Outcome, Passage, Response, StageRecord, Verdict
from lorag.pipeline.retrieval.twins import quote_place, twins_of
from lorag.pipeline.shown_verdicts import is_withheld
from lorag.services.terminal import cell, out, show, table

EXCERPT = 90
"""Characters of a stage's result or a passage in a table."""


def show_answer(response: Response) -> None:
    """The rewritten question, answer, citations and verdicts."""
    if response.rewrite.question != response.question:
        show(f"asked as: {response.rewrite.question}", style="dim")
    show(response.answer.text, style="bold")
    show_grounds(response)


def show_grounds(response: Response) -> None:
    """The citations and verdicts of an answer, without the answer."""
    answer = response.answer
    if answer.outcome is Outcome.UNPARSED:
        show("(the model's reply does not cite as it should; it stands here as written)", style="yellow")
    for citation in answer.citations:
        show()
        show(f"[{citation.number}] “{citation.quote}”")
        page = "" if citation.page is None else f", page {citation.page}"
        show(f"    {citation.source}:{citation.start}–{citation.end}{page}", style="dim")
        for twin in twins_of(citation, response.trace.hits):
            place = quote_place(twin, citation.quote)
            show(f"    also {twin.source}" + (f":{place[0]}–{place[1]}" if place else ""), style="dim")
    if response.verdicts:
        show()
        if shown := [each for each in response.verdicts if not is_withheld(each)]:
            show(" · ".join(map(_verdict, shown)), style="dim")
        if withheld := [each.task for each in response.verdicts if is_withheld(each)]:
            show(f"(no verdict on {', '.join(withheld)}: the judge is not shown to be better there than a rule)", style="dim")


def show_trace(response: Response) -> None:
    """Two tables: the stages in order, and the passages found."""
    stages = table("stage", "adapter", ">seconds", "outcome", "result", title="Stages")
    for record in response.trace.stages:
        stages.add_row(record.stage, cell(record.adapter), f"{record.seconds:.2f}", record.outcome.value, cell(_result(record)))
    out().print(stages)
    hits = table(">#", ">score", "source", "passage", title="Passages")
    for number, hit in enumerate(response.trace.hits, 1):
        passage = hit.passage
        where = f"{passage.source}:{passage.start}–{passage.end}{_pages(passage)}"
        where += "".join(f"\nalso {twin.source}:{twin.start}–{twin.end}{_pages(twin)}" for twin in hit.twins)
        hits.add_row(str(number), f"{hit.score:.4f}", cell(where), cell(_excerpt(passage.text)))
    out().print(hits)


def _result(record: StageRecord) -> str:
    detail = record.detail
    if "error" in detail:
        return str(detail["error"])
    if record.stage == "retrieve":
        return _counted(detail.get("found", ()))
    if "probabilities" in detail:
        return ", ".join(f"{label} {probability:.2f}" for label, probability in detail["probabilities"].items())
    if record.stage == "rewrite":
        return _excerpt(str(detail.get("question", "")))
    return _excerpt(record.reply or ("refused" if detail.get("refused") else ""))


def _pages(passage: Passage) -> str:
    """`, pages 3–4`; '' if the passage's file has none."""
    if not passage.pages:
        return ""
    first, last = passage.pages[0].number, passage.pages[-1].number
    return f", page {first}" if first == last else f", pages {first}–{last}"


def _counted(found: Sequence[object]) -> str:
    return f"{len(found)} passage{'' if len(found) == 1 else 's'}"


def _verdict(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.FAILED:
        return f"{verdict.task}: not judged ({verdict.error})"
    return f"{verdict.task}: {verdict.label} {verdict.probability:.2f}"


def _excerpt(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= EXCERPT else flat[: EXCERPT - 1] + "…"
