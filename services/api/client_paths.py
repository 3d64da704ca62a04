"""Paths as clients send them: without `/v1`, with it twice, with a slash too many, and HEAD requests. Plain ASGI middleware.

A base URL is typed by hand, and each client joins it in its own way. Only known paths are repaired, before anything reads them:
the route, its limits and its access rules are those of the repaired path.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KNOWN = re.compile(
    r"/{1,4}(?:v1/{1,4}){0,3}(?:(?:chat/completions|completions|embeddings|models)/{1,4})?"
    r"(chat/completions|completions|embeddings|models|documents|retrieve|feedback)/{0,4}"
)
_ONE_MODEL = re.compile(r"/{1,4}(?:v1/{1,4}){0,3}models/+(lorag(?:/[a-z]+)?)/{0,4}")


def repaired(path: str) -> str:
    """The path of the route that is meant; one that is not known stays as it is."""
    if found := _ONE_MODEL.fullmatch(path):
        return f"/v1/models/{found[1]}"
    found = _KNOWN.fullmatch(path)
    return f"/v1/{found[1]}" if found else path


class ClientPaths:
    """Wraps `app`: repairs paths, and answers HEAD as GET without a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = repaired(scope["path"])
        head = scope["method"] == "HEAD"
        meant = {**scope, "path": path, "raw_path": path.encode()} if path != scope["path"] else {**scope}
        if head:
            meant["method"] = "GET"
        await self._app(meant, receive, _without_body(send) if head else send)


def _without_body(send: Send) -> Send:
    async def bodiless(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return bodiless
