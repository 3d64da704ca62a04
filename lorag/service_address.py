"""Where the service of a project listens, for commands in another terminal: its loopback address and a key.

    PROJECT/.lorag/service.json     readable by the owner alone; removed when the service ends

A file that a killed service left is ignored: it counts only while the process that it names holds the serving lock. The key has
all scopes of the project's own tenant.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.config import FILE_NAME
from lorag.pipeline.errors import ConfigError, LoragError
from lorag.pipeline.storage.atomic import OWNER_ONLY, write_file
from lorag.pipeline.storage.strict_json import build, dump_json, load_json
from lorag.serving_lock import serving_process
from lorag.version import lorag_version

FILE = Path(".lorag/service.json")
APPEARS = 3.0
"""Seconds between taking the lock and writing the file: the service makes its socket meanwhile."""
_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """`url` is on the loopback address. `settings` is the digest of lorag.yaml as the service read it, `version` LoRAG's."""

    url: str
    key: str
    process: int
    project: str
    settings: str
    version: str


def settings_digest(project: Path) -> str:
    """SHA-256 of the settings file. Empty if it cannot be read."""
    try:
        return hashlib.sha256((project / FILE_NAME).read_bytes()).hexdigest()
    except OSError:
        return ""


@contextmanager
def announced(project: Path, url: str, key: str) -> Iterator[None]:
    """Within: commands of the same user find the service of this process at `url`."""
    path = project / FILE
    address = ServiceAddress(url, key, os.getpid(), str(project.resolve()), settings_digest(project), lorag_version())
    write_file(path, dump_json(address, FILE.name), mode=OWNER_ONLY)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def service_address(project: Path) -> ServiceAddress | None:
    """The address of the service that has the project open now. None if there is none, or if it is another user's.

    Raises ConfigError if the project folder was moved while it is served.
    """
    end = time.monotonic() + APPEARS
    while process := serving_process(project):
        address = _read(project / FILE)
        if address is not None and address.process == process:
            if Path(address.project) != project.resolve() and not _same(Path(address.project), project):
                what = f"was moved from {address.project} while `lorag serve` (process {process}) has it open"
                raise ConfigError(f"project {project.resolve()} {what}; end that service, and start it again here")
            return address
        if time.monotonic() > end:
            return None
        time.sleep(0.05)
    return None


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


def _read(path: Path) -> ServiceAddress | None:
    """None for a file that is missing, unreadable, another user's, or that others can read: its key may be known."""
    try:
        status = path.stat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            return None
        return build(ServiceAddress, load_json(path, limit=_LIMIT), str(path))
    except (OSError, LoragError):
        return None
