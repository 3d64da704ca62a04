"""`POST /v1/retrieve`: the retriever stage alone."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.records import Hit
from lorag.pipeline.retrieval.partition import file_name
from lorag.services.api.access import State, needs
from lorag.services.api.answers import also_in
from lorag.services.api.bodies import RetrieveRequest
from lorag.services.api.examples import RETRIEVE_EXAMPLES
from lorag.services.api.keys import Caller, Scope
from lorag.services.api.state import Lane
from lorag.services.api.work import run

router = APIRouter(tags=["retrieve"])


class HitShown(BaseModel):
    passage_id: str
    source: str
    title: str
    text: str
    score: float
    pages: list[int] = []
    also: list[str] = []


class Hits(BaseModel):
    """Passages, best first. Scores are the store's: higher is better, and only those of one search compare. `pages` are the pages
    of a PDF or slides that a passage is on, `also` other sources of the same text: each text is there once."""

    hits: list[HitShown]


@router.post("/v1/retrieve", response_model=Hits)
async def retrieve(
    request: Request,
    body: Annotated[RetrieveRequest, Body(openapi_examples=RETRIEVE_EXAMPLES)],
    caller: Annotated[Caller, Depends(needs(Scope.ASK))],
    state: State,
) -> JSONResponse:
    """The passages of the caller's documents that may answer a question."""
    runtime = state.runtime

    def work() -> list[dict[str, Any]]:
        with (
            runtime.snapshot(tenant=caller.tenant, search=True) as snapshot,
            state.metrics.stage_seconds.labels("retrieve").time(),
        ):
            (hits,) = runtime.retriever(snapshot, k=body.k, hybrid=body.hybrid).retrieve([body.query])
        return [_shown(hit) for hit in hits]

    return JSONResponse({"hits": await run(request, work, Lane.ENCODER)})


def _shown(hit: Hit) -> dict[str, Any]:
    passage = PassageText.of(hit.passage)
    return {
        "passage_id": hit.passage.id,
        "source": file_name(hit.passage.document_id, hit.passage.source),
        "title": passage.title,
        "text": passage.text,
        "score": hit.score,
        "pages": [page.number for page in hit.passage.pages],
        **also_in(hit),
    }
