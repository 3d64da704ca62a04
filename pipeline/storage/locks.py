"""File locks (`flock`): one writer at a time among all processes and threads. The system drops a lock when its owner dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_FILE = ".lock"
_MODE = 0o660
"""Of a named lock, less the umask. Who can read the file can hold the lock, so it is not for everybody."""
_TRIES, _PAUSE = 3, 0.02
"""A look at who holds a lock locks it for a moment."""


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Within: this is the only writer in `home`. Waits for another one to finish. Raises OSError."""
    with (home / _FILE).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def try_lock(file: int | IO[Any]) -> bool:
    """Lock an open file or folder until it is closed; False if another process or thread holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: what it does, such as `lorag serve`, and its process. Empty and 0 in the moment before it says so."""

    name: str = ""
    process: int = 0

    def __str__(self) -> str:
        named = f"`{self.name}`" if self.name else "another process"
        return f"{named} (process {self.process})" if self.process else named


class NamedLock:
    """A lock in the file `path`, which names its holder. Not reentrant; dropped when the object or the process ends."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._close: weakref.finalize[[int], NamedLock] | None = None

    @property
    def held(self) -> bool:
        return self._close is not None

    def try_acquire(self) -> Holder | None:
        """Take the lock. None if it is held here from now on, else who holds it. Raises OSError."""
        with contextlib.ExitStack() as undo:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
            undo.callback(os.close, descriptor)
            for _ in range(_TRIES):
                if try_lock(descriptor):
                    break
                time.sleep(_PAUSE)
            else:
                return _holder(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {self._name}".encode(), 0)
            undo.pop_all()
        self._close = weakref.finalize(self, _unlock, descriptor)
        return None

    def release(self) -> None:
        """Drop the lock if it is held."""
        if self._close is not None:
            self._close()
            self._close = None


def _unlock(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)


def current_holder(path: Path) -> Holder | None:
    """Who holds the lock in the file `path` now; None if nobody does, or if the file cannot be read."""
    try:
        with path.open("rb") as file:
            holder = _holder(file.fileno())
            return None if not holder.process or try_lock(file) else holder
    except OSError:
        return None


def _holder(descriptor: int) -> Holder:
    process, _, name = os.pread(descriptor, 200, 0).decode("utf-8", "replace").partition(" ")
    return Holder(name, int(process)) if process.isdecimal() else Holder()
