"""One server a project: whoever serves it holds a lock, which the system drops when the process dies. Knows no server."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.adapters.staging import make_folder
from pipeline.errors import ConfigError

FILE = Path(".lorag/serve.lock")


@contextmanager
def serving(project: Path) -> Iterator[None]:
    """Within: this process serves the project. Raises ConfigError where another does."""
    path = project / FILE
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, project)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def refuse_while_served(project: Path) -> None:
    """Raises ConfigError where a server has the project open."""
    try:
        descriptor = os.open(project / FILE, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        _take(descriptor, project)
    finally:
        os.close(descriptor)


def _take(descriptor: int, project: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        which = f" (process {owner})" if owner else ""
        raise ConfigError(
            f"project {project.resolve()} is open in `lorag serve`{which}; add documents through it, or end it and try again"
        ) from None
