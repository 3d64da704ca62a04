"""Which adapters lie on the shared base, and who still uses them. Knows no model: loading and unloading are given to it.

A request holds the adapters that it was started with, so a promotion never takes one away from under it: the old version is
unloaded after the last request that holds it, and not before newer ones need the room.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from lorag.pipeline.adapters.registry import Version

KEEP = 4
"""Adapters that nobody uses and that stay all the same: a rollback, or the next comparison, finds them in memory."""


class Residents:
    """`load` makes a version resident under a name after it has proved itself, or raises; `unload` takes a name off. `names` are
    resident already."""

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
        """All that are resident, in use or not."""
        with self._lock:
            return (*self._holders, *self._idle)

    def hold(self, name: str, version: Version) -> None:
        """Make sure that `name` is resident until it is released. Raises AdapterError, IdentityMismatch, NoEffect."""
        if self._take(name):
            return
        with self._loading:  # one at a time; whoever waited finds it loaded
            if self._take(name):
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
        self._shrink()

    def _take(self, name: str) -> bool:
        with self._lock:
            if name in self._idle:
                del self._idle[name]
                self._holders[name] = 1
                return True
            if name in self._holders:
                self._holders[name] += 1
                return True
            return False

    def _shrink(self) -> None:
        """Unload what has been idle longest, until `keep` are left; under the loading lock, so that nobody loads it meanwhile."""
        with self._loading:
            while True:
                with self._lock:
                    if len(self._idle) <= self._keep:
                        return
                    name = next(iter(self._idle))
                    del self._idle[name]
                self._unload(name)
