"""What surrounds every request: a bound on its body, one line in the log, the counters, and an end for errors nobody foresaw.

A plain ASGI middleware: it must see a disconnect as the server tells it, and streams as they are sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorag.services.api.errors import ApiError, BodyError, api_error
from lorag.services.api.origin import check_origin
from lorag.services.api.state import ServiceState

BODY_SECONDS, BODY_RATE = 30.0, 1024.0
"""A client gets this long for its body, and a second more for so many bytes that have come: a trickle holds nothing for long."""
UPLOADS = "/v1/documents"
PROBES = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by machines: counted, but not worth a line in the log."""

access = logging.getLogger("lorag.access")


class Guard:
    """Wraps `app`."""

    def __init__(self, app: ASGIApp, state: ServiceState) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watched = _Watched(scope, send)
        try:
            headers, limit = Headers(scope=scope), self._limit(scope["path"])
            if self._state.hosts is not None:
                check_origin(headers, self._state.hosts)
            _check_length(headers, limit)
            await self._app(scope, _bounded(receive, limit), watched.send)
        except Exception as error:  # whatever the routes and their handlers did not turn into a response
            await watched.fail(error, receive)
        finally:
            self._tell(scope, watched)

    def _limit(self, path: str) -> int:
        limits = self._state.limits
        return limits.max_upload if path.rstrip("/") == UPLOADS else limits.max_body

    def _tell(self, scope: Scope, watched: _Watched) -> None:
        """Count and log the request. No path, query, question or key: the route's own pattern must do."""
        seconds = time.monotonic() - watched.started
        route, method = _route(scope), scope["method"] if scope["method"] in _METHODS else "other"
        self._state.metrics.requests.labels(route, method, str(watched.status)).inc()
        self._state.metrics.seconds.labels(route).observe(seconds)
        caller = scope.get("state", {}).get("caller")
        fields = {
            "id": watched.id,
            "method": method,
            "route": route,
            "status": watched.status,
            "seconds": round(seconds, 4),
            "bytes": watched.sent,
            "caller": getattr(caller, "name", ""),
            "tenant": getattr(caller, "tenant", ""),
        }
        access.log(logging.DEBUG if route in PROBES else logging.INFO, "request", extra={"fields": fields})


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class _Watched:
    """The response on its way out, with an id by which a client's report and the log find each other."""

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
        """Answer with what `error` comes to, where the response has not begun."""
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
    """`receive` that ends a body which grows past `limit`, or does not come. Raises BodyError."""
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
    """The pattern of the route, such as `/v1/jobs/{id}`; `other` where none matched."""
    return str(getattr(scope.get("route"), "path", "other"))
