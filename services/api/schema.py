"""The OpenAPI document: FastAPI's, with the service's error form in place of the framework's."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

DESCRIPTION = (
    "Questions answered from documents by a chain of LoRA-tuned stages on one base. Chat, models and embeddings are in OpenAI's "
    "form, so its clients work with base_url http://HOST:PORT/v1; what is LoRAG's own stands under the key `lorag`."
)


class ErrorDetail(BaseModel):
    """`message` says in one line what is wrong and what to do. `param` names the field."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every error response."""

    error: ErrorDetail


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be met; change it, or wait where Retry-After says so"},
    "5XX": {"model": ErrorBody, "description": "The service cannot answer now"},
}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of `app`, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for methods in made["paths"].values():
            for operation in methods.values():
                operation["responses"].pop("422", None)  # such requests get a 400 here
        for unused in ("HTTPValidationError", "ValidationError"):
            made.get("components", {}).get("schemas", {}).pop(unused, None)
        app.openapi_schema = made
    return app.openapi_schema
