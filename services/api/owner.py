"""Routes for commands of the project's owner in another terminal: they work through the service, which has the index open.

The key is in a file that only the owner can read (`lorag.service_address`). Responses are lines of JSON with whole records, paths
included (`lorag.service_wire`), and no part of the public API.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi import Query as QueryParameter
from starlette.responses import StreamingResponse
from starlette.types import Send

from lorag.conversation import query_of
from lorag.pipeline.adapters.registry import PREVIOUS, PRODUCTION
from lorag.pipeline.chain import Final, TextDelta
from lorag.pipeline.errors import AdapterError, LoragError, ServiceError
from lorag.pipeline.records import Query, Role
from lorag.pipeline.storage.strict_json import build
from lorag.promotion import Switch
from lorag.service_wire import dump, failure
from lorag.services.api.access import State, owner
from lorag.services.api.adapters import promote_version, roll_back
from lorag.services.api.bodies import Strict
from lorag.services.api.errors import ApiError, log_error
from lorag.services.api.jobs import jobs_of
from lorag.services.api.metering import RequestEngine
from lorag.services.api.state import ServiceState
from lorag.services.api.work import items

router = APIRouter(prefix="/v1/owner", include_in_schema=False)
SECURED = [Depends(owner)]

Event = Mapping[str, Any]
Progress = Callable[[int, int, str], None]


class Asked(Strict):
    query: dict[str, Any]


class Ingestion(Strict):
    rebuild: bool = False


class Promotion(Strict):
    role: str
    version: str
    not_worse: float | None = None
    accept_made: bool = False


class Rollback(Strict):
    role: str


@router.get("/proof")
async def proof(state: State, nonce: Annotated[str, QueryParameter(pattern="^[0-9a-f]{32}$")]) -> dict[str, str]:
    """Shows that the service at this address has the owner's key, so that the key is sent to no other program."""
    return {"proof": hmac.digest(state.owner_key.encode(), nonce.encode(), "sha256").hex()}


@router.get("/index", dependencies=SECURED)
def index(state: State) -> dict[str, Any]:
    """The passages of the project's own index, its place and its encoder."""
    info = state.runtime.index.info()
    return {"passages": info.passages, "location": info.location, "encoder": info.encoder.describe()}


@router.post("/ask", dependencies=SECURED)
async def ask(request: Request, body: Asked, state: State) -> StreamingResponse:
    """Pieces of the text, last the whole response."""
    query, runtime = query_of(build(Query, body.query, "query")), state.runtime

    def events() -> Generator[Event]:
        engine = RequestEngine(runtime.engine, state.replies, state.metrics, "")
        with runtime.chain(engine=engine) as (chain, _), closing(chain.stream(query)) as found:
            for event in found:
                if isinstance(event, TextDelta):
                    yield {"text": event.text}
                elif isinstance(event, Final):
                    state.metrics.answered(event.response)
                    yield {"response": event.response}

    return _Lines(items(request, events))


@router.post("/ingest", dependencies=SECURED)
async def ingest(body: Ingestion, state: State) -> StreamingResponse:
    """Progress, last the report of the ingest. Uploads wait meanwhile."""
    runtime, jobs = state.runtime, jobs_of(state)

    def work(progress: Progress) -> Event:
        with jobs.paused():
            report = runtime.index.ingest(state.settings.documents, rebuild=body.rebuild, on_progress=progress)
        jobs.check_uploads()
        return {"report": report}

    return _Lines(_in_thread(work))


@router.post("/promote", dependencies=SECURED)
async def promote(body: Promotion, state: State) -> StreamingResponse:
    """Progress if a collection is filled for an embedder, last the switch."""

    def work(progress: Progress) -> Event:
        role = Role(body.role)
        if role is Role.EMBEDDER:
            _fill(state, body, progress)
        _, done = promote_version(state, role, body.version, body.not_worse, accept_made=body.accept_made)
        return {"switch": replace(_switch(state, role), claim=done.claim, margin=done.margin)}

    return _Lines(_in_thread(work))


def _fill(state: ServiceState, body: Promotion, progress: Progress) -> None:
    """Fill a collection with an embedder that may be promoted, if none fits it. The present one serves meanwhile."""
    version = state.project.registry.admitted(Role.EMBEDDER, body.version, not_worse=body.not_worse, accept_made=body.accept_made)
    index = state.runtime.index_of(version)
    if not index.is_searchable():
        with jobs_of(state).paused():
            index.ingest(state.settings.documents, rebuild=True, on_progress=progress)


@router.post("/rollback", dependencies=SECURED)
async def rollback(body: Rollback, state: State) -> StreamingResponse:
    """The switch."""

    def work(progress: Progress) -> Event:
        role = Role(body.role)
        roll_back(state, role)
        return {"switch": _switch(state, role)}

    return _Lines(_in_thread(work))


def _switch(state: ServiceState, role: Role) -> Switch:
    aliases = state.project.registry.aliases(role)
    return Switch(role, aliases[PRODUCTION], aliases.get(PREVIOUS, ""))


class _Stopped(Exception):
    """Nobody reads the progress any more."""


async def _in_thread(work: Callable[[Progress], Event]) -> AsyncGenerator[Event]:
    """The progress of `work`, then its result. There is no deadline. When the reader has gone, `work` ends at its next step."""
    loop, events, stop = asyncio.get_running_loop(), asyncio.Queue[Event | Exception](), threading.Event()

    def send(event: Event | Exception) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(events.put_nowait, event)

    def progress(done: int, total: int, name: str) -> None:
        if stop.is_set():
            raise _Stopped
        send({"progress": [done, total, name]})

    def run() -> None:
        try:
            send({"last": True, **work(progress)})
        except Exception as error:
            send(error)

    threading.Thread(target=run, name="lorag-owner", daemon=True).start()
    try:
        while True:
            event = await events.get()
            if isinstance(event, Exception):
                raise event
            yield {name: value for name, value in event.items() if name != "last"}
            if event.get("last"):
                return
    finally:
        stop.set()


class _Lines(StreamingResponse):
    """Sends a line of JSON for each event. An error is the last line. `events` is closed in every case."""

    media_type = "application/x-ndjson"

    def __init__(self, events: AsyncGenerator[Event]) -> None:
        self._sent = _lines(events)
        super().__init__(self._sent, headers={"Cache-Control": "no-store"})

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._sent):
            await super().stream_response(send)


async def _lines(events: AsyncGenerator[Event]) -> AsyncGenerator[str]:
    async with aclosing(events):
        try:
            async for event in events:
                yield dump(event) + "\n"
        except Exception as error:
            yield dump({"error": _sent_error(error)}) + "\n"


def _sent_error(error: Exception) -> LoragError:
    if isinstance(error, ApiError):
        kind = AdapterError if error.code == "adapter_refused" else ServiceError
        return kind(error.message)
    if not isinstance(error, LoragError):
        log_error(error)
    return failure(error)
