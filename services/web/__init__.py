"""The web pages: static files with security headers. `index.html` is the service's, `review.html` that of `lorag data review`.

A page is a client of the HTTP API like any other and uses relative addresses. It holds no secrets, so it is served without a
key. The data that it shows needs one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import Scope

STATIC = Path(__file__).parent / "static"

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No inline script or style and no other host. `blob:` is for the evaluation report, in a frame without scripts."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""With `no-cache` a browser keeps the files and asks each time if they changed; each has an ETag."""


def mount(app: FastAPI, page: str = "index.html") -> None:
    """Serve a page at `/` and all files under `/static/`."""

    async def show() -> FileResponse:
        return FileResponse(STATIC / page, headers=HEADERS)

    app.add_api_route("/", show, include_in_schema=False)
    app.mount("/static", _Files(directory=STATIC), name="static")


class _Files(StaticFiles):
    """Static files, each response with the page's headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response
