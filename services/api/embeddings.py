"""`POST /v1/embeddings`: the tuned text encoder, in OpenAI's form."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Body, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from lorag.pipeline.contracts.embed import query_text
from lorag.pipeline.retrieval.embedder import Embedder, Vectors
from lorag.services.api.access import State, needs
from lorag.services.api.bodies import EMBEDDER
from lorag.services.api.embedding_request import EmbeddingRequest
from lorag.services.api.errors import ApiError
from lorag.services.api.examples import EMBEDDING_EXAMPLES
from lorag.services.api.keys import Caller, Scope
from lorag.services.api.state import Lane
from lorag.services.api.token_text import text_of
from lorag.services.api.work import run

router = APIRouter(tags=["embeddings"])


class EmbeddingShown(BaseModel):
    """A unit vector; as base64 it is float32, little-endian."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingExtension(BaseModel):
    """The encoder: the version of its adapter, or `base`. `ignored` are the parameters that had no effect."""

    adapter: str
    ignored: list[str] = []


class EmbeddingList(BaseModel):
    object: Literal["list"]
    model: str
    data: list[EmbeddingShown]
    usage: EmbeddingUsage
    lorag: EmbeddingExtension


@router.post("/v1/embeddings", response_model=EmbeddingList)
async def embed(
    request: Request,
    body: Annotated[EmbeddingRequest, Body(openapi_examples=EMBEDDING_EXAMPLES)],
    caller: Annotated[Caller, Depends(needs(Scope.ASK))],
    state: State,
) -> JSONResponse:
    """Embed texts as passages, or as questions if `lorag.input_type` is `query`."""
    runtime = state.runtime

    def work() -> dict[str, Any]:
        with runtime.snapshot(tenant=caller.tenant) as snapshot:
            vectors, tokens = _vectors(snapshot.encoder.embedder, body)
            adapter = snapshot.named()["embedder"]
        state.metrics.tokens.labels("embedded").inc(tokens)
        shown = _base64 if body.encoding_format == "base64" else _floats
        return {
            "object": "list",
            "model": EMBEDDER,
            "data": [{"object": "embedding", "index": n, "embedding": shown(vector)} for n, vector in enumerate(vectors)],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            "lorag": {"adapter": adapter, "ignored": body.ignored},
        }

    return JSONResponse(await run(request, work, Lane.ENCODER))


def _vectors(embedder: Embedder, body: EmbeddingRequest) -> tuple[Vectors, int]:
    """Vectors of shape (texts, dimension), and the number of tokens embedded. Raises ApiError 400 for other dimensions."""
    if body.dimensions not in (None, embedder.dimension):
        message = f"Unsupported value: 'dimensions': this encoder's vectors have {embedder.dimension}; send that or leave it out."
        raise ApiError(400, message, param="dimensions", code="unsupported_value")
    texts = [each if isinstance(each, str) else text_of(each) for each in body.inputs]
    if body.lorag.input_type == "query":
        texts = [query_text(text) for text in texts]
        return embedder.embed_queries(texts), embedder.count_tokens(texts)
    return embedder.embed_passages(texts), embedder.count_tokens(texts)


def _floats(vector: Any) -> list[float]:
    return [float(value) for value in vector]


def _base64(vector: Any) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")
