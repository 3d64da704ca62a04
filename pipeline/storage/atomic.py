"""Writing that a kill or a full disk cannot leave half done: aside in the same folder, synced, renamed. Knows no content.

What is written aside has a name that begins with `.lorag-aside-`. A folder aside is held by a lock of its own, which the system
drops when its owner dies. That is how leftovers of a dead writer are told from the work of a living one. All raise OSError.
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
    """Make all that is below `folder` durable."""
    for below, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(below, name))
        sync(Path(below))


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, each entered durably in the one above."""
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
    """Write a new file durably; its folder is synced by whoever renames that. Raises FileExistsError too."""
    _write_new(target, [text.encode()])


def copy_file(source: Path, target: Path, limit: int) -> None:
    """Copy a plain file of at most `limit` bytes durably. Raises FileError for any other."""
    with open_plain(source, limit) as file:
        _write_new(target, iter(lambda: file.read(_CHUNK), b""))


def write_file(path: Path, content: str | bytes, *, mode: int = _BY_UMASK) -> None:
    """Put `content` at `path` in one rename: a reader finds the old file or the new one. Its folder is made if it is missing."""
    make_folder(path.parent)
    with _aside_file(path.parent, content.encode() if isinstance(content, str) else content, mode) as aside:
        aside.rename(path)
        sync(path.parent)


@contextlib.contextmanager
def aside_text(folder: Path, text: str) -> Iterator[Path]:
    """Within: a synced file in `folder` that holds `text`, to be renamed to where it belongs. Gone after, if it was not.

    For changes of several files: whatever can fail, fails before the first rename.
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
    """Remove the files that killed writers left in `folder`. Only if no other writer can be at work there."""
    for path in folder.glob(f"{_ASIDE}*"):
        if path.is_file():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Within: an empty folder beside `target`. After, all in it is durable and it has that name; gone if anything was raised.

    Raises OSError too if there is a folder at `target` by then that is not empty.
    """
    make_folder(target.parent)
    with aside_folder(target.parent) as aside:
        yield aside
        sync_tree(aside)
        aside.rename(target)
        sync(target.parent)


@contextlib.contextmanager
def aside_folder(parent: Path) -> Iterator[Path]:
    """Within: a new folder in `parent`, to be filled, synced and renamed. Gone after, if it was not.

    Removes what dead writers left in `parent`.
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
        except FileNotFoundError:  # taken for a leftover before it was locked
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
