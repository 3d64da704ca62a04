"""Counts the requests that use each adapter on the shared base. Knows no model: it gets functions that load and unload.

A request holds the adapters that it was started with, so a promotion never unloads one in use. An old version is unloaded after
the last request that holds it, and only when newer ones need its place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from lorag.pipeline.adapters.registry import Version

KEEP = 4
"""Unused adapters that stay in memory for a rollback or the next comparison."""


class Residents:
    """`load` proves a version and makes it resident under a name, or raises. `unload` removes a name. `names` are resident
    already."""

    def __init__(
        self, load: Callable[[str, Version], None], unload: Callable[[str], None], *, names: Iterable[str] = (), keep: int = KEEP
    ) -> None:
        self._load, self._unload, self._keep = load, unload, keep
        self._loading = threading.Lock()
        self._lock = threading.Lock()
        self._holders: dict[str, int] = {}
        self._idle: dict[str, None] = dict.fromkeys(names)

    @property
    def names(self) -> tuple[str, ...]:
        """All resident adapters, in use or not."""
        with self._lock:
            return (*self._holders, *self._idle)

    def hold(self, name: str, version: Version) -> None:
        """Keep `name` resident until `release`, and load it if needed. Raises AdapterError, IdentityMismatch, NoEffect."""
        if self._hold_resident(name):
            return
        with self._loading:  # one load at a time; a thread that waited may find it loaded
            if self._hold_resident(name):
                return
            self._load(name, version)
            with self._lock:
                self._holders[name] = 1

    def release(self, name: str) -> None:
        """Undo one `hold`."""
        with self._lock:
            self._holders[name] -= 1
            if self._holders[name]:
                return
            del self._holders[name]
            self._idle[name] = None
            if len(self._idle) <= self._keep:
                return
        self._evict()

    def _hold_resident(self, name: str) -> bool:
        with self._lock:
            if name in self._idle:
                del self._idle[name]
                self._holders[name] = 1
                return True
            if name in self._holders:
                self._holders[name] += 1
                return True
            return False

    def _evict(self) -> None:
        """Unload the adapters idle for longest until `keep` are left, under the loading lock so that no thread loads them."""
        with self._loading:
            while True:
                with self._lock:
                    if len(self._idle) <= self._keep:
                        return
                    name = next(iter(self._idle))
                    del self._idle[name]
                self._unload(name)
