"""API keys: each with its scopes and its tenant. `PROJECT/.lorag/keys.json` holds hashes; a key itself is shown once.

A key has 256 random bits and cannot be guessed, so one round of SHA-256 is enough; slow, salted hashes are for passwords. The
file is read again when it changes: a removed key is refused from the next request on. If the file is missing or damaged while
the service runs, every key is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.adapters.card import now_utc
from lorag.pipeline.errors import ConfigError, InputError, LoragError
from lorag.pipeline.retrieval.partition import check_tenant
from lorag.pipeline.storage.atomic import OWNER_ONLY, make_folder, write_file
from lorag.pipeline.storage.locks import locked
from lorag.pipeline.storage.strict_json import build, dump_json, load_json
from lorag.services.api.scopes import Scope

__all__ = ["FILE", "LOCAL", "Caller", "KeyEntry", "KeyRing", "Scope"]

FILE = Path(".lorag/keys.json")
FORMAT = 1
PREFIX = "lorag-"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LIMIT = 1 << 20

log = logging.getLogger("lorag.service")


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. `tenant` is empty for the project's own documents."""

    name: str
    scopes: frozenset[str]
    tenant: str


LOCAL = Caller("local", frozenset(Scope), "")
"""Every caller of a service without keys, which listens on the loopback address only."""


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """The stored record of a key, without the key itself."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    tenant: str
    created: str

    @property
    def caller(self) -> Caller:
        return Caller(self.name, frozenset(self.scopes), self.tenant)


@dataclass(frozen=True, slots=True)
class _KeyFile:
    format: int
    keys: tuple[KeyEntry, ...]


class KeyRing:
    """The keys in the file `path`. Safe for several threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._entries: tuple[KeyEntry, ...] = ()

    @classmethod
    def load(cls, project: Path) -> KeyRing | None:
        """The project's keys. None if none were ever made. Raises ConfigError for a damaged file."""
        ring = cls(project / FILE)
        if not ring.path.exists():
            return None
        ring.entries()
        return ring

    def check(self, key: str) -> Caller | None:
        """The caller with this key. None for an unknown key. Compares every stored hash in constant time."""
        digest = _digest(key)
        found: Caller | None = None
        for entry in self._current():
            if hmac.compare_digest(entry.sha256, digest):
                found = entry.caller
        return found

    def add(self, name: str, scopes: Iterable[Scope], tenant: str = "") -> str:
        """Make a key and return it. Raises InputError for a bad or taken name, no scope, a bad tenant; ConfigError."""
        if not _NAME.fullmatch(name):
            raise InputError(f"key name {name!r}: use letters, digits, - _ and ., at most 64, a letter or digit first")
        chosen = tuple(scope for scope in Scope if scope in frozenset(scopes))
        if not chosen:
            raise InputError(f"key {name}: give it at least one --scope of {', '.join(Scope)}")
        key = PREFIX + secrets.token_urlsafe(32)
        entry = KeyEntry(name, _digest(key), chosen, check_tenant(tenant), now_utc())
        make_folder(self.path.parent)
        with locked(self.path.parent):
            entries = self.entries()
            if any(known.name == name for known in entries):
                raise InputError(f"there is a key named {name} already; remove it first, or take another name")
            self._write((*entries, entry))
        return key

    def remove(self, name: str) -> None:
        """Remove a key: it is refused from now on. The file stays even if it is empty: then the service refuses every request.

        Raises InputError if there is no key of that name.
        """
        entries = self.entries()
        if not any(entry.name == name for entry in entries):
            known = ", ".join(entry.name for entry in entries) or "none"
            raise InputError(f"no key named {name!r}; there are: {known}")
        with locked(self.path.parent):
            self._write(tuple(entry for entry in self.entries() if entry.name != name))

    def entries(self) -> tuple[KeyEntry, ...]:
        """All keys, oldest first. Empty if there is no file. Raises ConfigError for a damaged one."""
        if not self.path.exists():
            return ()
        try:
            held = build(_KeyFile, load_json(self.path, limit=_LIMIT), "keys")
            if held.format != FORMAT:
                raise InputError(f"its format is {held.format}, this LoRAG reads {FORMAT}")
            for entry in held.keys:
                check_tenant(entry.tenant)
        except LoragError as error:
            raise ConfigError(f"{self.path}: not a readable key file ({error}); delete it and add the keys again") from error
        return held.keys

    def _current(self) -> tuple[KeyEntry, ...]:
        """The entries, read again if the file changed. Empty, with a line in the log, if it cannot be read."""
        with self._lock:
            try:
                stat = self.path.stat()
                stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                if stamp != self._stamp:
                    self._entries, self._stamp = self.entries(), stamp
            except (OSError, ConfigError) as error:
                if self._entries or self._stamp is None:
                    log.error("keys: nobody is let in: %s", error)
                self._entries, self._stamp = (), (0,)
            return self._entries

    def _write(self, entries: tuple[KeyEntry, ...]) -> None:
        write_file(self.path, dump_json(_KeyFile(FORMAT, entries), "keys"), mode=OWNER_ONLY)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
