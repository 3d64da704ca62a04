"""Writing that a kill or a full disk cannot leave half done: aside in the same file system, synced, renamed. Knows no adapter.

A folder being filled is held by a lock of its own, which the system drops when its owner dies; that is how leftovers of a
dead writer are told from the work of a living one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from lorag.pipeline.adapters.plain_files import open_plain

_FOLDER = ".publishing-"
_FILE = ".aside-"
_CHUNK = 1 << 20


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, each entered durably in the one above."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the entries of `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _write_all(target: Path, pieces: Iterable[bytes]) -> None:
    with target.open("xb") as file:
        for piece in pieces:
            _write(file, piece)
        file.flush()
        os.fsync(file.fileno())


def write_text(target: Path, text: str) -> None:
    """Write a new file durably; its folder is synced by whoever renames it. Raises OSError, FileExistsError among them."""
    _write_all(target, [text.encode()])


def copy_file(source: Path, target: Path, limit: int) -> None:
    """Copy a plain file of at most `limit` bytes durably. Raises AdapterError for any other, OSError for a full disk."""
    with open_plain(source, limit) as file:
        _write_all(target, iter(lambda: file.read(_CHUNK), b""))


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Within: this is the only writer in `home`, of all processes and threads."""
    with (home / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def aside_text(home: Path, text: str) -> Iterator[Path]:
    """Within: a synced file in `home` that holds `text`, to be renamed to where it belongs. Gone after, if it was not.

    The caller holds the lock of `home`.
    """
    path = home / f"{_FILE}{secrets.token_hex(8)}"
    try:
        write_text(path, text)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def aside_folder(home: Path, parent: Path) -> Iterator[Path]:
    """Within: a new folder in `parent`, to be filled and renamed. Gone after, if it was not. Takes the lock of `home` briefly."""
    with locked(home):
        clear_leftovers(home, parent)
        path = parent / f"{_FOLDER}{secrets.token_hex(8)}"
        path.mkdir()
        owner = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(owner)


def clear_leftovers(home: Path, parent: Path) -> None:
    """Remove what dead writers left aside. The caller holds the lock of `home`, under which all files aside are written."""
    for path in home.glob(f"{_FILE}*"):
        path.unlink(missing_ok=True)
    for path in parent.glob(f"{_FOLDER}*"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
