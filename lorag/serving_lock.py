"""One process at a time on a project's index: `lorag serve` or `lorag ingest` holds a lock, which the system frees at its death.

The lock file names the holder. Knows no server and no index.
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
    """Within: this process serves the project. Raises ConfigError if another process serves or ingests it."""
    return _locked(project, _SERVE)


def ingesting(project: Path) -> AbstractContextManager[None]:
    """Within: this process alone ingests documents into the project's index. Raises ConfigError as `serving`."""
    return _locked(project, _INGEST)


def is_served(project: Path) -> bool:
    """Whether a `lorag serve` has the project open now."""
    try:
        with (project / FILE).open("rb") as file:
            return file.read(len(_SERVE)) == _SERVE.encode() and not try_lock(file)
    except OSError:
        return False


@contextmanager
def _locked(project: Path, action: str) -> Iterator[None]:
    path = project / FILE
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(descriptor, project)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{action} {os.getpid()}".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, project: Path) -> None:
    if not try_lock(descriptor):
        action, _, process = os.pread(descriptor, 40, 0).decode("ascii", "replace").partition(" ")
        which = f" (process {process})" if process else ""
        advice = _ADVICE.get(action, "is in use by another `lorag` process; try again when that has ended")
        raise ConfigError(f"project {project.resolve()} {advice.format(which=which)}")
