"""File locks (`flock`): one writer at a time among all processes and threads. The system drops a lock when its owner dies."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_FILE = ".lock"


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
