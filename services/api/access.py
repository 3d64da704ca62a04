"""Access to routes: the credential of a request → a `Caller`, or an error. Knows no route.

The caller's tenant comes from the key alone. Nothing else in a request can change it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from lorag.services.api.errors import ApiError
from lorag.services.api.keys import LOCAL, Caller, KeyRing, Scope
from lorag.services.api.state import ServiceState, state_of

_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="An API key made with `lorag keys add NAME --scope ask`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
State = Annotated[ServiceState, Depends(state_of)]


def needs(scope: Scope | str) -> Callable[..., Awaitable[Caller]]:
    """A FastAPI dependency that requires `scope`: 401 without a valid key, 403 if the key lacks the scope.

    The caller is also stored in `request.state.caller`.
    """
    required = Scope(scope)

    async def authorize(request: Request, state: State, credentials: Credentials) -> Caller:
        key = credentials.credentials if credentials else None
        caller = LOCAL if is_owner(state, key) else identify(state.keys, key)
        if required not in caller.scopes:
            raise ApiError(403, f"the key {caller.name} lacks the scope {required.value}", code="insufficient_scope")
        request.state.caller = caller
        return caller

    return authorize


async def owner(request: Request, state: State, credentials: Credentials) -> None:
    """A FastAPI dependency: the request has the owner's key. Raises ApiError 401."""
    if not is_owner(state, credentials.credentials if credentials else None):
        raise ApiError(401, "this is for commands of the project's owner", code="invalid_api_key")
    request.state.caller = LOCAL


def is_owner(state: ServiceState, key: str | None) -> bool:
    """Whether `key` is that of the owner of the project folder."""
    return key is not None and hmac.compare_digest(_digest(key), _digest(state.owner_key))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def identify(keys: KeyRing | None, key: str | None) -> Caller:
    """The caller with this key, or the local user if the service has no keys. Raises ApiError 401."""
    if keys is None:
        return LOCAL
    caller = keys.check(key) if key else None
    if caller is None:
        what = "this API key is not valid" if key else "send an API key: Authorization: Bearer KEY"
        raise ApiError(401, what, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
    return caller
