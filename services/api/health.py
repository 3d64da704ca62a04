"""`GET /healthz`, `GET /readyz` and `GET /metrics`: for a supervisor, a load balancer and Prometheus."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from lorag.services.api.access import State, needs
from lorag.services.api.errors import ApiError
from lorag.services.api.keys import Scope

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"


@router.get("/healthz")
async def healthz() -> Alive:
    """The process runs."""
    return Alive()


@router.get("/readyz")
async def readyz(state: State) -> Ready:
    """Base and index are open, so the service answers questions, and the index keeps what is written. 503 if not.

    An index that cannot be flushed is opened again and tested at each call, so the service becomes ready again by itself.
    """
    index = state.runtime.index
    if state.health.problem(index.flush):
        message = "the index cannot be flushed, so uploads wait; it is tried again, and the service's log says why"
        raise ApiError(503, message, code="index_unavailable", retry_after=5)
    return Ready()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    dependencies=[Depends(needs(Scope.ADMIN))],
)
async def metrics(state: State) -> Response:
    """Counters and timings for Prometheus."""
    return Response(state.metrics.page(), media_type=CONTENT_TYPE_LATEST)
