"""Keeps web pages of others away from a service without keys.

Such a service listens on the loopback address only, but every page in a browser on that machine reaches it too: with a form,
which needs nobody's leave, or under a name of the page's own that suddenly points here (DNS rebinding). So it answers to the
names of the loopback address alone, and not to what another origin sends.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from lorag.services.api.errors import ApiError

_MAKE_A_KEY = "make a key with `lorag keys add NAME --scope ask`"


def check_origin(headers: Headers, hosts: Collection[str]) -> None:
    """Raises ApiError 403 unless the request names one of `hosts`, and comes from no page or from one of the service's own."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if _name(f"//{host}") not in hosts:
        raise ApiError(403, f"a service without keys answers to localhost alone; for other names {_MAKE_A_KEY}")
    if origin is not None and origin.partition("://")[2].casefold() != host.casefold():
        raise ApiError(403, f"a service without keys takes no requests from other sites' pages; {_MAKE_A_KEY}")


def _name(address: str) -> str:
    """The host in an address; empty where there is none to be read."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
