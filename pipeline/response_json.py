"""A `Response` as plain values, in the format that the command line and the API print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lorag.pipeline.records import Citation, Hit, Response, StageRecord, Verdict
from lorag.pipeline.retrieval.twins import quote_place, twins_of
from lorag.pipeline.shown_verdicts import for_users


def response_json(response: Response) -> dict[str, Any]:
    """`{"question", "rewrite", "answer", "outcome", "refused", "citations", "verdicts", "trace"}`, ready for `json.dumps`.

    `citations` hold number, passage_id, source, quote, start, end and page; `quote` is at `start:end` of `source`, in characters
    of the decoded file, and begins on `page` of a PDF or slide (null for other files). If other passages have the same text,
    `also` holds passage_id, source, start and end of each (null if line breaks or markup differ there). A verdict in a task in
    which the judge is not `proven` to be better than a floor has no label and no probabilities; what the judge replied is in
    the trace.
    """
    answer = response.answer
    return {
        "question": response.question,
        "rewrite": response.rewrite.question,
        "answer": answer.text,
        "outcome": answer.outcome.value,
        "refused": answer.refused,
        "citations": [_citation(citation, response.trace.hits) for citation in answer.citations],
        "verdicts": [_verdict(for_users(verdict)) for verdict in response.verdicts],
        "trace": {
            "stages": [stage_json(record) for record in response.trace.stages],
            "hits": [_hit(hit) for hit in response.trace.hits],
        },
        **({} if answer.error is None else {"error": str(answer.error)}),
    }


def _citation(citation: Citation, hits: Sequence[Hit]) -> dict[str, Any]:
    also = []
    for twin in twins_of(citation, hits):
        start, end = quote_place(twin, citation.quote) or (None, None)
        also.append({"passage_id": twin.id, "source": twin.source, "start": start, "end": end})
    return {**asdict(citation), **({"also": also} if also else {})}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "task": verdict.task,
        "label": verdict.label,
        "probability": verdict.probability,
        "probabilities": dict(verdict.probabilities),
        "outcome": verdict.outcome.value,
        "proven": verdict.proven,
        **({} if verdict.error is None else {"error": str(verdict.error)}),
    }


def stage_json(record: StageRecord) -> dict[str, Any]:
    """One stage in the format of `trace.stages`."""
    return {
        "stage": record.stage,
        "adapter": record.adapter,
        "seconds": round(record.seconds, 6),
        "outcome": record.outcome.value,
        "prompt": [{"role": message.role, "content": message.content} for message in record.prompt],
        "reply": record.reply,
        "detail": dict(record.detail),
    }


def _hit(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {
        "passage_id": passage.id,
        "score": hit.score,
        "source": passage.source,
        "title": passage.title,
        "section": passage.section,
        "text": passage.text,
        "start": passage.start,
        "end": passage.end,
        "pages": [page.number for page in passage.pages],
        **({"also": [{"passage_id": twin.id, "source": twin.source} for twin in hit.twins]} if hit.twins else {}),
    }
