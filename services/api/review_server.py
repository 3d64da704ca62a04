"""Serves the page of `lorag data review --web` on the loopback address: one folder of rows, no model and no key.

As with a service without keys, it answers to loopback host names alone and refuses requests of other sites' pages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from lorag.pipeline.errors import DataError
from lorag.services import web
from lorag.services.api import review
from lorag.services.api.errors import ApiError, handle_errors
from lorag.services.api.guard import Guard
from lorag.services.api.review import ReviewState
from lorag.services.api.server import LOOPBACK, Server, listening, server_config

COUNTS = (20, 50, 100)

log = logging.getLogger("lorag.service")


def serve_review(folder: Path, port: int, *, count: int, seed: int, on_notice: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C. `on_notice` is called with the address. The page offers `count` rows too.

    Raises DataError if the folder holds no made test questions, ConfigError if the port is not available.
    """
    state = ReviewState.open(folder, tuple(sorted({*COUNTS, count})), seed)
    with listening(LOOPBACK[0], port) as listener:
        on_notice(f"Read the rows at http://{LOOPBACK[0]}:{port}/ (Ctrl-C ends it)")
        Server(server_config(create_review_app(state), state)).run(sockets=[listener])


def create_review_app(state: ReviewState) -> FastAPI:
    """The application of the page and its routes."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.review = state
    app.include_router(review.router)
    web.mount(app, "review.html")
    handle_errors(app)
    app.add_exception_handler(DataError, _on_damage)
    app.add_middleware(Guard, state=state)
    return app


async def _on_damage(_: Request, error: Exception) -> JSONResponse:
    """The folder is damaged, gone or not writable. The client did not cause it, and the message names a path."""
    log.error("%s", error)
    return ApiError(500, "the rows cannot be read or written; the terminal says why", code="rows_failed").response()
