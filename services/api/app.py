"""Builds the service: routes, error handlers, and the parts that open at the start and close at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from lorag.services import web
from lorag.services.api import (
    adapters,
    chat,
    completions,
    docs,
    documents,
    embeddings,
    feedback,
    health,
    jobs,
    models,
    owner,
    report,
    retrieve,
)
from lorag.services.api.alias_watch import AliasWatch
from lorag.services.api.client_paths import ClientPaths
from lorag.services.api.errors import handle_errors
from lorag.services.api.guard import Guard
from lorag.services.api.library import open_jobs
from lorag.services.api.origin import allow_pages
from lorag.services.api.runtime import Runtime
from lorag.services.api.schema import DESCRIPTION, ERRORS, document
from lorag.services.api.state import ServiceState
from lorag.version import lorag_version

log = logging.getLogger("lorag.service")

Failed = Callable[[BaseException], None]


def create_app(state: ServiceState, *, open_runtime: Callable[[], Runtime], failed: Failed | None = None) -> FastAPI:
    """The application. It accepts requests at once. Routes answer 503 until `open_runtime`, which runs in a thread, is done.

    `failed` is called in the event loop if opening fails. The service never becomes ready then.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        opening = asyncio.create_task(_open(state, open_runtime, failed))
        try:
            yield
        finally:
            await opening
            await asyncio.to_thread(_close, state)

    app = FastAPI(
        title="LoRAG",
        version=lorag_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=ERRORS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.lorag = state
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    for part in (
        chat,
        completions,
        feedback,
        embeddings,
        retrieve,
        documents,
        jobs,
        adapters,
        report,
        models,
        health,
        docs,
        owner,
    ):
        app.include_router(part.router)
    web.mount(app)
    handle_errors(app)
    allow_pages(app, state)
    app.add_middleware(Guard, state=state)
    app.add_middleware(ClientPaths)
    return app


async def _open(state: ServiceState, open_runtime: Callable[[], Runtime], failed: Failed | None) -> None:
    try:
        await asyncio.to_thread(_start, state, open_runtime)
    except Exception as error:
        if failed is None:
            raise
        failed(error)
    else:
        log.info("ready")


def _start(state: ServiceState, open_runtime: Callable[[], Runtime]) -> None:
    watch = AliasWatch(state.project.registry, lambda: adapters.take_up(state))  # what is promoted from now on is seen
    runtime = open_runtime()
    work = open_jobs(state.project.folder, lambda: runtime.index)
    try:
        work.start()
    except BaseException:
        runtime.close()
        raise
    state.opened, state.jobs = runtime, work
    state.watch = watch
    watch.start()


def _close(state: ServiceState) -> None:
    """Called after the requests have ended: stop the background jobs, the threads and the runtime."""
    if state.watch is not None:
        state.watch.close()
    if state.jobs is not None:
        state.jobs.close()
    state.workers.shutdown()
    if state.opened is not None:
        state.opened.close()
