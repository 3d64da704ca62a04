"""One process at a time on a project's index: `lorag serve` or `lorag ingest` holds a lock, which the system frees at its death.

The lock file names the holder. Knows no server and no index.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType

from lorag.pipeline.errors import ConfigError
from lorag.pipeline.storage.atomic import make_folder
from lorag.pipeline.storage.locks import Holder, NamedLock, current_holder

FILE = Path(".lorag/serve.lock")
SERVING, INGESTING = "lorag serve", "lorag ingest"
_ADVICE = MappingProxyType(
    {
        SERVING: "is open in {holder}; add documents through it, or end it and try again",
        INGESTING: "is being read in by {holder}; try again when that is done",
    }
)


def serving(project: Path) -> AbstractContextManager[None]:
    """Within: this process serves the project. Raises ConfigError if another process serves or ingests it."""
    return _locked(project, SERVING)


def ingesting(project: Path) -> AbstractContextManager[None]:
    """Within: this process alone ingests documents into the project's index. Raises ConfigError as `serving`."""
    return _locked(project, INGESTING)


def serving_process(project: Path) -> int:
    """The process of the `lorag serve` that has the project open now; 0 if there is none."""
    holder = current_holder(project / FILE)
    return holder.process if holder is not None and holder.name == SERVING else 0


def is_served(project: Path) -> bool:
    """Whether a `lorag serve` has the project open now."""
    return serving_process(project) != 0


@contextmanager
def _locked(project: Path, name: str) -> Iterator[None]:
    path = project / FILE
    make_folder(path.parent)
    lock = NamedLock(path, name)
    if (holder := lock.try_acquire()) is not None:
        raise ConfigError(f"project {project.resolve()} {_advice(holder)}")
    try:
        yield
    finally:
        lock.release()


def _advice(holder: Holder) -> str:
    return _ADVICE.get(holder.name, "is in use by {holder}; try again when that has ended").format(holder=holder)
