"""Error responses of the service: OpenAI's form with one clear line, never a traceback, a path or a key.

    {"error": {"message": str, "type": str, "param": str | null, "code": str | null}}

The status of a known error says whether the client must change the request (4xx) or try again later (503).
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from lorag.pipeline.errors import (
    AdapterError,
    Cancelled,
    DeadlinePassed,
    EngineError,
    FeedbackError,
    IndexMismatch,
    IndexOwned,
    InputError,
    LoragError,
    NothingIngested,
    Overloaded,
    PromptTooLong,
    ShuttingDown,
    StoreError,
    UnknownAnswer,
)

DEBUG = "LORAG_DEBUG"
MESSAGE_CHARS = 500

NOTHING_HERE = (
    "there is nothing at this path; chat is POST /v1/chat/completions, files are sent to POST /v1/documents, GET /docs lists all"
)

log = logging.getLogger("lorag.service")

_FIELD = re.compile(r"[a-z_]+|[0-9]+")
"""A field or a list position. Other parts of pydantic's locations name a type that was tried, such as `list[TextPart]`."""

INVALID, AUTHENTICATION, PERMISSION = "invalid_request_error", "authentication_error", "permission_error"
NOT_FOUND, CONFLICT, RATE_LIMIT, SERVER = "not_found_error", "conflict_error", "rate_limit_error", "server_error"
NO_RETRY = (409, 500, 507)
"""A second attempt would end in the same way. OpenAI's clients repeat these by themselves unless a header forbids it."""
_TYPES = {401: AUTHENTICATION, 403: PERMISSION, 404: NOT_FOUND, 409: CONFLICT, 429: RATE_LIMIT}


class ApiError(Exception):
    """An error response. `retry_after`, in seconds, becomes the header Retry-After."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        if status in NO_RETRY:
            self.headers["X-Should-Retry"] = "false"

    @property
    def type(self) -> str:
        return _TYPES.get(self.status, INVALID if self.status < 500 else SERVER)

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status, self.headers)


class BodyError(HTTPException):
    """An error while the body is read. It is an HTTPException because FastAPI's readers pass only that on."""

    def __init__(self, status: int, message: str, code: str) -> None:
        # The rest of the body stays unread, so the connection cannot be used again.
        self.answer = ApiError(status, message, code=code, headers={"Connection": "close"})
        super().__init__(status, message)


def api_error(error: BaseException) -> ApiError:
    """The response for `error`. An error that the client did not cause gets a general message and a line in the log."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BodyError):
        return error.answer
    cause = _root(error)
    match cause:
        case PromptTooLong():
            return ApiError(400, _line(cause), code="context_length_exceeded", param="messages")
        case UnknownAnswer():
            return ApiError(404, _line(cause), code="unknown_answer", param="id")
        case InputError():
            return ApiError(400, _line(cause))
        case DeadlinePassed():
            return ApiError(504, "no answer within the time there was; ask something shorter or try again later", code="timeout")
        case Overloaded():
            return ApiError(429, "too many requests are waiting; try again later", code="queue_full", retry_after=5)
        case ShuttingDown():
            return ApiError(503, "the service is shutting down; try again in a moment", code="stopping", retry_after=5)
        case Cancelled():
            return ApiError(499, "the client has gone", code="cancelled")
        case IndexMismatch():
            message = "the index was filled by another encoder than the one asked for; rebuild it with `lorag ingest --rebuild`"
            return ApiError(409, message, code="index_mismatch")
        case IndexOwned():
            log_error(cause)
            return ApiError(409, "the index is another project's; the service's log says what to do", code="index_owned")
        case NothingIngested():
            return ApiError(409, "there are no documents yet; upload documents, or run `lorag ingest`", code="nothing_ingested")
        case AdapterError():
            log_error(cause)
            return ApiError(409, "the adapter was refused; the service's log says why", code="adapter_refused")
        case StoreError():
            log_error(cause)
            return ApiError(503, "the index cannot be reached; try again later", code="index_unavailable", retry_after=5)
        case EngineError() if cause.retry:
            log_error(cause)
            return ApiError(503, "the model cannot be reached; try again later", code="engine_unavailable", retry_after=5)
        case FeedbackError():
            log_error(cause)
            return ApiError(507, "no more feedback can be stored; tell whoever runs this service", code="feedback_full")
        case LoragError():
            log_error(cause)
            return ApiError(500, "the request failed; the service's log says why", code="failed")
        case MemoryError():
            log_error(cause)
            return ApiError(503, "memory ran out; send a shorter request or try again later", code="out_of_memory", retry_after=5)
    log_error(cause)
    return ApiError(500, "the service failed on this request, which is a bug in LoRAG; please report it", code="bug")


def log_error(error: BaseException) -> None:
    """Log an error in one line: its class, its place in the code, and the message if LoRAG raised it without a cause.

    A library's message, and the names that stages put before an error, may quote a question. `LORAG_DEBUG=1` logs them with the
    traceback.
    """
    origin: BaseException = error
    while origin.__cause__ is not None:
        origin = origin.__cause__
    frames = traceback.extract_tb(origin.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    names = type(error).__name__ + (f" from {type(origin).__name__}" if origin is not error else "")
    words = f": {_line(error)}" if origin is error and isinstance(error, LoragError) else ""
    log.error("%s%s%s", names, place, words, exc_info=error if os.environ.get(DEBUG) == "1" else None)


def _root(error: BaseException) -> BaseException:
    """The deepest LoragError in the chain of causes. The outer ones name stage and question, which no log may hold."""
    found = error
    while isinstance(found.__cause__, LoragError):
        found = found.__cause__
    return found


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:MESSAGE_CHARS] or type(error).__name__


def handle_errors(app: FastAPI) -> None:
    """Answer every error of `app`'s routes in this form."""
    app.add_exception_handler(ApiError, on_known)
    app.add_exception_handler(LoragError, on_known)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)


async def on_known(_: Request, error: Exception) -> JSONResponse:
    """For ApiError and LoragError."""
    return api_error(error).response()


async def on_http(_: Request, error: Exception) -> JSONResponse:
    """For errors of the framework: unknown path, wrong method, unreadable body."""
    assert isinstance(error, HTTPException)
    if isinstance(error, BodyError):
        return error.answer.response()
    detail = error.detail if isinstance(error.detail, str) and error.detail else HTTPStatus(error.status_code).phrase
    words = {404: NOTHING_HERE, 405: "this path does not take that method"}
    message = words.get(error.status_code, detail) if detail == HTTPStatus(error.status_code).phrase else detail
    return ApiError(error.status_code, message, headers=error.headers or {}).response()


async def on_invalid(_: Request, error: Exception) -> JSONResponse:
    """For invalid requests: the deepest problem, with the name of its field. Never repeats the request's values."""
    assert isinstance(error, RequestValidationError)
    # A field with several types has an error for each; the error of the closest type is the deepest.
    problem = max(error.errors(), key=lambda found: (len(found["loc"]), not found["type"].endswith("_type")))
    if "said" in (about := problem.get("ctx", {})):  # in the words of the OpenAI API: `chat_reading.refusal`
        return ApiError(about["status"], about["said"], code=about["code"], param=about["param"]).response()
    place = [str(part) for part in problem["loc"][1:] if _FIELD.fullmatch(str(part))]
    if problem["type"] == "json_invalid":
        return ApiError(400, "the body is not valid JSON", code="invalid_json").response()
    if not place and problem["type"] in ("model_attributes_type", "missing", "dict_type"):
        return ApiError(400, "send a JSON object with the header Content-Type: application/json", code="invalid_body").response()
    param = ".".join(place)
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return ApiError(400, f"{param}: {message}"[:MESSAGE_CHARS] if param else message, param=param or None).response()
