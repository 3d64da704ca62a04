"""`GET /v1/models`: the model names, in OpenAI's form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from lorag.services.api.access import needs
from lorag.services.api.bodies import CHAT_MODELS, EMBEDDER
from lorag.services.api.errors import ApiError
from lorag.services.api.keys import Scope

CREATED = 1735689600
"""OpenAI's form requires a time. Models here are roles, which have none, so all have 1 January 2025."""

router = APIRouter(tags=["models"], dependencies=[Depends(needs(Scope.ASK))])


class ModelShown(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["lorag"]


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelShown]


@router.get("/v1/models", response_model=ModelList)
async def list_models() -> dict[str, Any]:
    """`lorag` is the chain, `lorag/ROLE` one role of it, `lorag/base` the base without an adapter."""
    return {"object": "list", "data": [_model(name) for name in (*CHAT_MODELS, EMBEDDER)]}


@router.get("/v1/models/{model:path}", response_model=ModelShown)
async def show_model(model: Annotated[str, ...]) -> dict[str, Any]:
    """One model."""
    if model not in (*CHAT_MODELS, EMBEDDER):
        raise ApiError(404, "there is no such model; see GET /v1/models", param="model", code="model_not_found")
    return _model(model)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "lorag"}
