"""`GET /healthz`, `GET /readyz` and `GET /metrics`: for a supervisor, a load balancer and Prometheus."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from lorag.services.api.access import State, needs
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
    """Base and index are open, so the service answers questions. 503 before."""
    _ = state.runtime
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
