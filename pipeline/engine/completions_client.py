"""HTTP client of an OpenAI-compatible server: sends, retries, reads event streams, and reports errors in one line.

Knows no tokens and no roles. It uses httpx alone, not the `openai` package: prompts of token ids, fields beyond OpenAI's and
our own retry rules are simpler to send than to wrap. httpx is installed with the hub client anyway. The caller's `limits` are
checked between attempts and between the pieces of a reply. The API key never appears in a message.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import weakref
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lorag.pipeline.engine.limits import current_limits
from lorag.pipeline.errors import EngineError, Overloaded, PromptTooLong

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 16.0
"""Seconds between two attempts: the first doubles from attempt to attempt up to the longest, with a quarter of jitter."""

_MESSAGE_CHARS = 240
_TOO_LONG = ("context_length_exceeded", "maximum context length", "max_model_len", "longer than the maximum model length")


@dataclass(frozen=True, slots=True)
class Server:
    """A server's URL (`http://host:port/v1`), key and retry limits. `timeout` is in seconds, for a reply to begin and between
    two pieces of it."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    retries: int = 3


class CompletionsClient:
    """A pool of connections to `server`. Thread-safe; `close` it when done.

    `target` in its methods names the addressed model in messages, such as "model 'judge'". Every error is an EngineError, and
    its `retry` says whether the same request may succeed later.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url.rstrip("/")

    @cached_property
    def _http(self) -> httpx.Client:
        import httpx

        headers = {"Authorization": f"Bearer {self.server.api_key}"} if self.server.api_key else {}
        # Threads bound the connections; a limit of the pool would only add a time to wait for one.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        client = httpx.Client(headers=headers, limits=limits)
        weakref.finalize(self, client.close)  # nobody calls `close` on a chain that is dropped
        return client

    def close(self) -> None:
        if "_http" in self.__dict__:
            self._http.close()

    def get(self, path: str, target: str) -> Any:
        """The JSON value at `path`, such as `/models`."""
        return self._json("GET", path, None, target)

    def post(self, path: str, body: Mapping[str, Any], target: str) -> Any:
        """The JSON value that `path` answers to `body`."""
        return self._json("POST", path, body, target)

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None, target: str) -> Any:
        response = self._send(method, path, body, target, whole=True)
        try:
            return response.json()
        except ValueError:
            raise self._error(target, f"answered no JSON ({self._clean(response.text)!r}); is it an API's address?") from None

    def stream(self, path: str, body: Mapping[str, Any], target: str) -> Generator[Any]:
        """The JSON values of the server-sent events that `path` answers to `body`, up to `[DONE]`.

        A stream that ends before that raises; closing the iterator closes the connection, and with it the server's work.
        """
        import httpx

        with closing(self._send("POST", path, body, target, whole=False)) as response:
            try:
                for line in response.iter_lines():
                    _raise_if_over()
                    if not line.startswith("data:"):
                        continue
                    data = line.removeprefix("data:").strip()
                    if data == "[DONE]":
                        return
                    yield self._event(data, target)
            except httpx.TimeoutException:
                _raise_if_over()
                raise self._error(target, f"fell silent for {self.server.timeout:g} s amid a reply", retry=True) from None
            except httpx.HTTPError as error:
                raise self._error(target, f"broke a reply off ({self._clean(str(error))})", retry=True) from error
        raise self._error(target, "ended a reply before it was complete", retry=True)

    def _event(self, data: str, target: str) -> Any:
        try:
            event = json.loads(data)
        except ValueError:
            raise self._error(target, f"streamed no JSON ({self._clean(data)!r})") from None
        if isinstance(event, dict) and event.get("error"):
            raise self._error(target, f"failed amid a reply: {self._reason(event)}", retry=True)
        return event

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, target: str, *, whole: bool) -> httpx.Response:
        """A response of status 200, after at most the allowed attempts; its body is read if `whole`."""
        for attempt in itertools.count(1):
            try:
                return self._attempt(method, path, body, target, whole)
            except _Retryable as failure:
                if attempt > self.server.retries:
                    kind = Overloaded if failure.overloaded else EngineError
                    times = f", {attempt} times" if attempt > 1 else ""
                    raise self._error(target, f"{failure}{times}{failure.remedy}", retry=True, kind=kind) from failure
                current_limits().cancelled.wait(_pause_seconds(attempt) if failure.after is None else failure.after)
        raise AssertionError("unreachable")

    def _attempt(self, method: str, path: str, body: Mapping[str, Any] | None, target: str, whole: bool) -> httpx.Response:
        """One request. Raises `_Retryable` if another attempt may succeed, else EngineError."""
        import httpx

        _raise_if_over()
        seconds = self._timeout_seconds()
        timeout = httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
        try:
            request = self._http.build_request(method, f"{self.url}{path}", json=body, timeout=timeout)
            response = self._http.send(request, stream=True)
            if whole or response.status_code != HTTPStatus.OK:
                response.read()
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            # Not sent again: the server still works on this request, and a second one would only wait longer.
            _raise_if_over()
            reason = f"did not answer within {seconds:g} s; raise generation.timeout, or give the server less to do"
            raise self._error(target, reason, retry=True) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise self._error(target, f"is no address ({self._clean(str(error))}); correct generation.base_url") from None
        except httpx.TransportError as error:
            reason = f"cannot be reached ({self._clean(str(error)) or type(error).__name__})"
            raise _Retryable(reason, remedy="; check generation.base_url, and that the server runs") from error
        if response.status_code != HTTPStatus.OK:
            self._raise_for_status(response, target)
        return response

    def _raise_for_status(self, response: httpx.Response, target: str) -> None:
        status = response.status_code
        try:
            reason = self._reason(response.json())
        except ValueError:
            reason = self._clean(response.text)
        problem = f"answered {status}" + (f" ({reason})" if reason else "")
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            after = _retry_after_seconds(response.headers.get("Retry-After"))
            overloaded = status == HTTPStatus.TOO_MANY_REQUESTS
            if after is not None and after > self._timeout_seconds():
                kind = Overloaded if overloaded else EngineError
                raise self._error(target, f"{problem}; it asks to come back in {after:.0f} s", retry=True, kind=kind)
            raise _Retryable(problem, after, overloaded=overloaded)
        if status == HTTPStatus.BAD_REQUEST and any(sign in response.text for sign in _TOO_LONG):
            raise PromptTooLong(
                f"{target} at {self.url} {problem}; shorten the question, or lower retrieval.k or chunking.max_chars"
            )
        raise self._error(target, problem + _REMEDIES.get(status, ""))

    def _reason(self, value: Any) -> str:
        """The message of an error in OpenAI's, FastAPI's or another format."""
        error = value.get("error", value) if isinstance(value, dict) else value
        if isinstance(error, dict):
            error = error.get("message") or error.get("detail") or error
        return self._clean(str(error))

    def _clean(self, text: str) -> str:
        key = self.server.api_key
        line = " ".join((text.replace(key, "…") if key else text).split())
        line = "".join(letter for letter in line if letter.isprintable())
        return line if len(line) <= _MESSAGE_CHARS else line[: _MESSAGE_CHARS - 1] + "…"

    def _timeout_seconds(self) -> float:
        """Seconds that a reply may take now: the server's timeout, or less if the caller's deadline comes first."""
        left = current_limits().remaining()
        return self.server.timeout if left is None else min(self.server.timeout, max(left, 0.01))

    def _error(self, target: str, reason: str, *, retry: bool = False, kind: type[EngineError] = EngineError) -> EngineError:
        error = kind(f"{target} at {self.url} {reason}")
        error.retry = retry
        return error


_REMEDIES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "; set the variable that generation.api_key_env names to the server's key",
    HTTPStatus.FORBIDDEN: "; the key behind generation.api_key_env does not allow this",
    HTTPStatus.NOT_FOUND: "; check generation.base_url (it ends in /v1) and generation.models",
}


class _Retryable(Exception):
    """The request may be sent again, after `after` seconds if the server gave them."""

    def __init__(self, reason: str, after: float | None = None, *, overloaded: bool = False, remedy: str = "") -> None:
        super().__init__(reason)
        self.after, self.overloaded, self.remedy = after, overloaded, remedy


def _raise_if_over() -> None:
    """Raises Cancelled or DeadlinePassed if the caller no longer waits."""
    if (error := current_limits().over()) is not None:
        raise error


def _pause_seconds(attempt: int) -> float:
    """Seconds after attempt number `attempt`."""
    return min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.75, 1.25)


def _retry_after_seconds(header: str | None) -> float | None:
    """What Retry-After asks for (RFC 9110, 10.2.3: seconds or a date); None if it cannot be read."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
