"""Who may call a route: the credential of the request → a `Caller`, or a refusal. Knows no route.

The caller's tenant comes from here alone; nothing that a request says elsewhere can change it.
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
    """A FastAPI dependency that lets in who has `scope`: 401 without a valid key, 403 where the key lacks it.

    The caller also stands in `request.state.caller`.
    """
    wanted = Scope(scope)

    async def admit(request: Request, state: State, credentials: Credentials) -> Caller:
        caller = identify(state.keys, credentials.credentials if credentials else None)
        if wanted not in caller.scopes:
            raise ApiError(403, f"the key {caller.name} lacks the scope {wanted.value}", code="insufficient_scope")
        request.state.caller = caller
        return caller

    return admit


def identify(keys: KeyRing | None, key: str | None) -> Caller:
    """Whose key it is; where the service has no keys, the local user. Raises ApiError 401."""
    if keys is None:
        return LOCAL
    caller = keys.check(key) if key else None
    if caller is None:
        what = "this API key is not valid" if key else "send an API key: Authorization: Bearer KEY"
        raise ApiError(401, what, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
    return caller
