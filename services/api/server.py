"""Runs the application under uvicorn until a signal stops it. Then it accepts no new requests and finishes the running ones."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import uvicorn
from prometheus_client import disable_created_metrics
from uvicorn.protocols.http.h11_impl import H11Protocol

from lorag.pipeline.errors import ConfigError
from lorag.project import Project
from lorag.service_address import announced
from lorag.services.api.app import create_app
from lorag.services.api.guard import Guarded
from lorag.services.api.keys import KeyRing
from lorag.services.api.logs import logging_to
from lorag.services.api.opening import open_runtime
from lorag.services.api.state import Limits, ServiceState
from lorag.serving_lock import serving

LOOPBACK = ("127.0.0.1", "::1", "localhost")

HEAD_SECONDS = 10.0
"""Seconds from the first byte of a request head after which an incomplete head closes the connection."""
HEAD_BYTES = 16 << 10
GRACE = 5.0
"""Seconds beyond a request's deadline that shutdown waits for it."""


def serve(project: Project, host: str, port: int, limits: Limits, on_notice: Callable[[str], None] = lambda line: None) -> None:
    """Serve `project` until SIGTERM or Ctrl-C; `on_notice` is called with the address.

    Raises ConfigError if the address is not available, if it is not loopback and there are no keys, and if another process serves
    the project. Also raises as `open_runtime`.
    """
    keys = KeyRing.load(project.folder)
    if keys is None and host not in LOOPBACK:
        raise ConfigError(
            f"--host {host} lets other machines in, and the project has no keys; make one with `lorag keys add NAME --scope ask`"
        )
    state = ServiceState(project, keys, limits, hosts=frozenset(LOOPBACK) if keys is None else None)
    with serving(project.folder):
        on_notice(f"LoRAG serves {project.folder} at http://{f'[{host}]' if ':' in host else host}:{port}/ (Ctrl-C ends it)")
        run(state, host, port)


def run(state: ServiceState, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises ConfigError if the address is not available, and as `open_runtime`."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # one series a counter is enough
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(state, open_runtime=lambda: open_runtime(state.project, state.metrics), failed=failed)
    with logging_to(), ExitStack() as opened:
        sockets = [opened.enter_context(listening(host, port))]
        local = _loopback(sockets[0])
        if local is None:  # one that other machines do not see, for commands on this one
            sockets.append(opened.enter_context(listening(LOOPBACK[0], 0)))
            local = _loopback(sockets[1])
        opened.enter_context(announced(state.project.folder, f"http://{local}", state.owner_key))
        server = Server(server_config(app, state))
        server.run(sockets=sockets)
    if failures:
        raise failures[0]


def server_config(app: object, state: Guarded) -> uvicorn.Config:
    """uvicorn's settings, without its access log, which would hold paths and queries."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(state.limits.timeout + GRACE),
        h11_max_incomplete_event_size=HEAD_BYTES,
    )


def _loopback(listener: socket.socket) -> str | None:
    """`HOST:PORT` by which this machine reaches the socket on the loopback address. None if it does not."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    if not address.is_loopback:
        return None
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Within: a listening socket. Raises ConfigError if the address is not available."""
    try:
        opened = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else str(error)  # an unknown host name has a negative number
        other = "--port" if host in LOOPBACK else "--host or --port"
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}; choose another {other}") from error
    with opened:
        yield opened


class Server(uvicorn.Server):
    """Shuts down after the first SIGTERM or Ctrl-C and stops at once after a second. uvicorn's would raise the signal again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Protocol(H11Protocol):
    """uvicorn's protocol with a timeout for the request head, for which uvicorn's own has none."""

    _head_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def _expect_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_since = None
        elif self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._head_since = self._head_since or self.loop.time()
            self.timeout_keep_alive_task = self.loop.call_at(self._head_since + HEAD_SECONDS, self.timeout_keep_alive_handler)
