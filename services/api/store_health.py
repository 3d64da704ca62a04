"""Whether the index keeps what is written to it: a test in a thread of its own, so that a probe never waits for a disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lorag.services.api.errors import log_error

FRESH = 5.0
"""Seconds that a good result counts. After a bad one each probe tests again."""


class StoreHealth:
    """The last result of a test. Safe for several threads."""

    def __init__(self, fresh: float = FRESH) -> None:
        self._fresh = fresh
        self._lock = threading.Lock()
        self._running, self._bad = False, False
        self._tested = 0.0

    def problem(self, test: Callable[[], None]) -> bool:
        """Whether the last test that ended has failed. Begins the next one if it is due; a failure is logged once."""
        with self._lock:
            due = self._bad or time.monotonic() - self._tested >= self._fresh
            if due and not self._running:
                self._running = True
                threading.Thread(target=self._run, args=(test,), name="lorag-store-health", daemon=True).start()
            return self._bad

    def _run(self, test: Callable[[], None]) -> None:
        bad = False
        try:
            test()
        except Exception as error:  # whatever it is, the index does not keep what is written
            bad = True
            if not self._bad:
                log_error(error)
        with self._lock:
            self._bad, self._running, self._tested = bad, False, time.monotonic()
