"""A small service that commands of the same user find: its lock is held, its address is written, it listens on a real port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.service_address import announced
from lorag.services.api.keys import KeyRing
from lorag.services.api.state import Limits, ServiceState
from lorag.serving_lock import serving
from tests.services.api.live_service import running
from tests.services.api.small_service import make_state_app, wait_for


@dataclass(frozen=True)
class Announced:
    """`url` without a path."""

    url: str
    state: ServiceState


@contextmanager
def announced_service(project: Path, **options: Any) -> Iterator[Announced]:
    """Within: the service of `project` runs and is ready; `options` as for `open_small`."""
    app, state = make_state_app(project, KeyRing.load(project), Limits(cache=0), **options)
    with serving(project), running(app, state) as port:
        url = f"http://127.0.0.1:{port}"
        with announced(project, url, state.owner_key):
            wait_for(lambda: state.opened is not None)
            yield Announced(url, state)
