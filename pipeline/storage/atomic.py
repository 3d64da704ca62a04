"""Atomic writes: a temporary file or folder next to the target, synced, then renamed. A kill or a full disk leaves the old state.

Knows no content. Temporary names begin with `.lorag-aside-`. A temporary folder is locked by its owner, and the system drops
the lock when the owner dies. That distinguishes leftovers of a dead writer from the work of a living one. All functions raise
OSError.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from lorag.pipeline.storage.locks import try_lock
from lorag.pipeline.storage.plain_files import open_plain

OWNER_ONLY = 0o600
_BY_UMASK = 0o666
_ASIDE = ".lorag-aside-"
_CHUNK = 1 << 20


def sync(path: Path) -> None:
    """Make a file's bytes, or the entries of a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make everything in `folder` durable."""
    for below, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(below, name))
        sync(Path(below))


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, and sync each parent's entry."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync(path.parent)


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _write_new(target: Path, pieces: Iterable[bytes], mode: int = _BY_UMASK) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        for piece in pieces:
            _write(file, piece)
        file.flush()
        os.fsync(file.fileno())


def write_new(target: Path, text: str) -> None:
    """Write a new file durably; the caller syncs its folder. Raises FileExistsError if `target` exists."""
    _write_new(target, [text.encode()])


def copy_file(source: Path, target: Path, limit: int) -> None:
    """Copy a plain file of at most `limit` bytes durably. Raises FileError for any other file."""
    with open_plain(source, limit) as file:
        _write_new(target, iter(lambda: file.read(_CHUNK), b""))


def write_file(path: Path, content: str | bytes, *, mode: int = _BY_UMASK) -> None:
    """Write `content` to `path` by one rename: a reader sees the old file or the new one. Makes the folder if it is missing."""
    make_folder(path.parent)
    with _aside_file(path.parent, content.encode() if isinstance(content, str) else content, mode) as aside:
        aside.rename(path)
        sync(path.parent)


@contextlib.contextmanager
def aside_text(folder: Path, text: str) -> Iterator[Path]:
    """Within: a synced temporary file in `folder` that holds `text`, for the caller to rename; removed after if still there.

    For changes of several files: what can fail does so before the first rename.
    """
    with _aside_file(folder, text.encode(), _BY_UMASK) as path:
        yield path


@contextlib.contextmanager
def _aside_file(folder: Path, content: bytes, mode: int) -> Iterator[Path]:
    path = folder / f"{_ASIDE}{secrets.token_hex(8)}"
    try:
        _write_new(path, [content], mode)
        yield path
    finally:
        path.unlink(missing_ok=True)


def clear_aside_files(folder: Path) -> None:
    """Remove the files that killed writers left in `folder`. Call it only if no other writer can be active there."""
    for path in folder.glob(f"{_ASIDE}*"):
        if path.is_file():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Within: an empty folder next to `target`. After, it is synced and renamed to `target`, or removed after an error.

    Raises OSError also if `target` is a folder that is not empty.
    """
    make_folder(target.parent)
    with aside_folder(target.parent) as aside:
        yield aside
        sync_tree(aside)
        aside.rename(target)
        sync(target.parent)


@contextlib.contextmanager
def aside_folder(parent: Path) -> Iterator[Path]:
    """Within: a new temporary folder in `parent`, for the caller to fill, sync and rename; removed after if still there.

    Removes what killed writers left in `parent`.
    """
    _clear_aside_folders(parent)
    path, owner = _owned_folder(parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(owner)


def _owned_folder(parent: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that locks it."""
    while True:
        path = parent / f"{_ASIDE}{secrets.token_hex(8)}"
        path.mkdir()
        try:
            owner = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # another process removed it as a leftover before it was locked
            continue
        if try_lock(owner) and path.exists():
            return path, owner
        os.close(owner)


def _clear_aside_folders(parent: Path) -> None:
    for path in parent.glob(f"{_ASIDE}*/"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # its owner has finished
            continue
        try:
            if try_lock(descriptor):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)
