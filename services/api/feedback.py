"""`POST /v1/feedback` and `DELETE /v1/feedback/{id}`: what users say of answers. Each key reaches its tenant's answers alone."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Request
from fastapi import Path as PathParameter
from pydantic import BaseModel

from lorag.services.api.access import State, needs
from lorag.services.api.bodies import ANSWER_ID, FeedbackRequest
from lorag.services.api.examples import FEEDBACK_EXAMPLES
from lorag.services.api.keys import Caller, Scope
from lorag.services.api.state import Lane
from lorag.services.api.work import run

router = APIRouter(prefix="/v1/feedback", tags=["feedback"])

AskCaller = Annotated[Caller, Depends(needs(Scope.ASK))]


class FeedbackKept(BaseModel):
    """The feedback is on disk. `id` is that of the answer, `given` the time in UTC."""

    object: Literal["feedback"] = "feedback"
    id: str
    given: str


class FeedbackDeleted(BaseModel):
    object: Literal["feedback.deleted"] = "feedback.deleted"
    id: str
    deleted: Literal[True] = True


@router.post("")
async def give(
    request: Request,
    body: Annotated[FeedbackRequest, Body(openapi_examples=FEEDBACK_EXAMPLES)],
    caller: AskCaller,
    state: State,
) -> FeedbackKept:
    """Say what was wrong with an answer, or that it was right.

    It is kept with the answer's trace and replaces earlier feedback on the same answer. 404 if the answer is not among the newest
    of the key's tenant, or was given before the last restart.
    """
    feedback = state.project.feedback

    def work() -> FeedbackKept:
        kept = feedback.give(body.id, body.opinion, tenant=caller.tenant, given_by=caller.name)
        return FeedbackKept(id=kept.trace.id, given=kept.given)

    return await run(request, work, Lane.STORAGE)


@router.delete("/{id}")
async def withdraw(
    request: Request, id: Annotated[str, PathParameter(pattern=ANSWER_ID)], caller: AskCaller, state: State
) -> FeedbackDeleted:
    """Delete the feedback on an answer."""
    feedback = state.project.feedback
    await run(request, lambda: feedback.withdraw(id, tenant=caller.tenant), Lane.STORAGE)
    return FeedbackDeleted(id=id)
