"""Access to routes: the credential of a request → a `Caller`, or an error. Knows no route.

The caller's tenant comes from the key alone. Nothing else in a request can change it.
"""

from __future__ import annotations

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
        caller = identify(state.keys, credentials.credentials if credentials else None)
        if required not in caller.scopes:
            raise ApiError(403, f"the key {caller.name} lacks the scope {required.value}", code="insufficient_scope")
        request.state.caller = caller
        return caller

    return authorize


def identify(keys: KeyRing | None, key: str | None) -> Caller:
    """The caller with this key, or the local user if the service has no keys. Raises ApiError 401."""
    if keys is None:
        return LOCAL
    caller = keys.check(key) if key else None
    if caller is None:
        what = "this API key is not valid" if key else "send an API key: Authorization: Bearer KEY"
        raise ApiError(401, what, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
    return caller
