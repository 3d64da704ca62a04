"""Refuses requests from other sites' pages to a service without keys.

Such a service listens on the loopback address only, but any page in a browser on that machine can reach it too. It can send a
form, which needs no permission, or use a host name of its own that resolves to this address (DNS rebinding). So the service
answers only to loopback host names, and refuses requests of another origin.

With keys, other sites' pages may call it, as chat clients in a browser do: a request is worth what its key is, and a browser adds
none by itself.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers

from lorag.services.api.errors import ApiError
from lorag.services.api.state import ServiceState

_MAKE_A_KEY = "make a key with `lorag keys add NAME --scope ask`"


def allow_pages(app: FastAPI, state: ServiceState | None) -> None:
    """Answer the preflight requests of browsers, and let pages read the answers, if the service has keys."""
    if state is not None and state.keys is not None:
        shown = ["Retry-After", "X-Request-Id"]
        app.add_middleware(
            CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], expose_headers=shown, max_age=3600
        )


def check_origin(headers: Headers, hosts: Collection[str]) -> None:
    """Raises ApiError 403 unless the request names one of `hosts` and has no origin or the service's own."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if _name(f"//{host}") not in hosts:
        raise ApiError(403, f"a service without keys answers to localhost alone; for other names {_MAKE_A_KEY}")
    if origin is not None and origin.partition("://")[2].casefold() != host.casefold():
        raise ApiError(403, f"a service without keys takes no requests from other sites' pages; {_MAKE_A_KEY}")


def _name(address: str) -> str:
    """The host in an address. Empty if it has none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
