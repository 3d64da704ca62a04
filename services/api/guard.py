"""Middleware of every request: a bound on its body, a line in the log, the counters, and a response for unexpected errors.

It is plain ASGI, because it must see the server's disconnect message and each chunk of a stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import Protocol

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorag.services.api.errors import ApiError, BodyError, api_error
from lorag.services.api.metrics import Metrics
from lorag.services.api.origin import check_origin
from lorag.services.api.state import Limits

BODY_SECONDS, BODY_RATE = 30.0, 1024.0
"""Seconds for a request's body, and bytes received that add one second: a slow client cannot hold a connection for long."""
UPLOADS, BATCHES = "/v1/documents", "/v1/embeddings"
PROBES = ("/healthz", "/readyz", "/metrics")
"""Machines call these every few seconds: they are counted, but logged at debug level only."""

access = logging.getLogger("lorag.access")


class Guarded(Protocol):
    """What the guard knows of a service. `hosts`, if given, are the only host names that it answers to."""

    @property
    def limits(self) -> Limits: ...

    @property
    def hosts(self) -> frozenset[str] | None: ...

    @property
    def metrics(self) -> Metrics: ...


class Guard:
    """Wraps `app`."""

    def __init__(self, app: ASGIApp, state: Guarded) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response = _TrackedResponse(scope, send)
        try:
            headers, limit = Headers(scope=scope), self._limit(scope["path"])
            if self._state.hosts is not None:
                check_origin(headers, self._state.hosts)
            _check_length(headers, limit)
            await self._app(scope, _bounded(receive, limit), response.send)
        except Exception as error:  # an error that no handler turned into a response
            await response.fail(error, receive)
        finally:
            self._record(scope, response)

    def _limit(self, path: str) -> int:
        limits = self._state.limits
        return {UPLOADS: limits.max_upload, BATCHES: limits.max_batch}.get(path, limits.max_body)

    def _record(self, scope: Scope, response: _TrackedResponse) -> None:
        """Count and log the request by the route's pattern, without its path, query, question or key."""
        seconds = time.monotonic() - response.started
        route, method = _route(scope), scope["method"] if scope["method"] in _METHODS else "other"
        self._state.metrics.requests.labels(route, method, str(response.status)).inc()
        self._state.metrics.seconds.labels(route).observe(seconds)
        caller = scope.get("state", {}).get("caller")
        fields = {
            "id": response.id,
            "method": method,
            "route": route,
            "status": response.status,
            "seconds": round(seconds, 4),
            "bytes": response.sent,
            "caller": getattr(caller, "name", ""),
            "tenant": getattr(caller, "tenant", ""),
        }
        access.log(logging.DEBUG if route in PROBES else logging.INFO, "request", extra={"fields": fields})


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class _TrackedResponse:
    """The response as it is sent, with an id that is in its headers and in the log."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = f"req-{uuid.uuid4().hex}"
        self.started = time.monotonic()
        self.status, self.sent = 0, 0
        self._scope, self._send = scope, send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", self.id.encode())]}
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
        await self._send(message)

    async def fail(self, error: Exception, receive: Receive) -> None:
        """Send the response for `error`, unless a response has begun."""
        answer = api_error(error)
        if self.status == 0:
            await answer.response()(self._scope, receive, self.send)


def _check_length(headers: Headers, limit: int) -> None:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise ApiError(400, "the header Content-Length must be a number")
    if int(length[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> BodyError:
    return BodyError(413, f"the body is larger than the {limit} bytes that are taken here", "body_too_large")


def _bounded(receive: Receive, limit: int) -> Receive:
    """`receive` with limits on the body. Raises BodyError if it is longer than `limit` bytes or does not arrive in time."""
    size, complete, begun = 0, False, 0.0

    async def bounded() -> Message:
        nonlocal size, complete, begun
        if complete:
            return await receive()
        try:
            begun = begun or asyncio.get_running_loop().time()
            async with asyncio.timeout_at(begun + BODY_SECONDS + size / BODY_RATE):
                message = await receive()
        except TimeoutError:
            complete = True
            raise BodyError(408, f"the body did not come within {BODY_SECONDS:g} s", "body_timeout") from None
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > limit:
                complete = True
                raise _too_large(limit)
        return message

    return bounded


def _route(scope: Scope) -> str:
    """The pattern of the route, such as `/v1/jobs/{id}`. `other` if none matched."""
    return str(getattr(scope.get("route"), "path", "other"))
