"""One process at a project's index: `lorag serve` or `lorag ingest` holds a lock, which the system drops when it dies.

The lock's file names who holds it. Knows no server and no index.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType

from lorag.pipeline.errors import ConfigError
from lorag.pipeline.storage.atomic import make_folder
from lorag.pipeline.storage.locks import try_lock

FILE = Path(".lorag/serve.lock")
_SERVE, _INGEST = "serve", "ingest"
_ADVICE = MappingProxyType(
    {
        _SERVE: "is open in `lorag serve`{which}; add documents through it, or end it and try again",
        _INGEST: "is being read in by `lorag ingest`{which}; try again when that is done",
    }
)


def serving(project: Path) -> AbstractContextManager[None]:
    """Within: this process serves the project. Raises ConfigError where another does, or reads documents in."""
    return _held(project, _SERVE)


def ingesting(project: Path) -> AbstractContextManager[None]:
    """Within: this process alone reads documents into the project's index. Raises ConfigError as `serving`."""
    return _held(project, _INGEST)


@contextmanager
def _held(project: Path, doing: str) -> Iterator[None]:
    path = project / FILE
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, project)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{doing} {os.getpid()}".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _take(descriptor: int, project: Path) -> None:
    if not try_lock(descriptor):
        doing, _, process = os.pread(descriptor, 40, 0).decode("ascii", "replace").partition(" ")
        which = f" (process {process})" if process else ""
        advice = _ADVICE.get(doing, "is in use by another `lorag` process; try again when that has ended")
        raise ConfigError(f"project {project.resolve()} {advice.format(which=which)}")
