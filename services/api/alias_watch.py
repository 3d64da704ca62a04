"""Watches what the registry lets serve, so that a promotion by another process, such as `lorag tune`, takes effect here too.

A thread of its own reads the aliases every few seconds. A version that cannot serve is logged once, and the one before serves on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from lorag.pipeline.adapters.registry import PRODUCTION, Registry
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Role

log = logging.getLogger("lorag.service")

SECONDS = 2.0
"""Between two looks at the aliases."""

Aliases = Mapping[Role, str]


class AliasWatch:
    """Calls `take_up` in its own thread after each change of a production alias. `close` ends it."""

    def __init__(self, registry: Registry, take_up: Callable[[], None], *, seconds: float = SECONDS) -> None:
        self._registry, self._take_up, self._seconds = registry, take_up, seconds
        self._closed = threading.Event()
        self._seen = self._production()
        self._thread = threading.Thread(target=self._run, name="lorag-alias-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread after the change that it is at."""
        self._closed.set()
        self._thread.join()

    def look(self) -> None:
        """Take up what changed since the last look."""
        now = self._production()
        if now is None or now == self._seen:
            return
        self._seen = now
        try:
            self._take_up()
        except Exception as error:  # whatever is wrong with a version, the ones before serve on
            reason = str(error) if isinstance(error, LoragError) else type(error).__name__
            log.warning(f"what another process promoted does not serve here: {reason}")

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            self.look()

    def _production(self) -> Aliases | None:
        """The versions in production; None if a file cannot be read just now."""
        try:
            return {role: name for role in Role if (name := self._registry.aliases(role).get(PRODUCTION))}
        except LoragError:
            return None
