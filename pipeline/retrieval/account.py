"""The account of an ingest: what became of each file, so that nothing is lost silently.

Readers, the ingester and the front door report through it. Knows no reader, no index and no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePath


class FileStatus(StrEnum):
    """What became of a file. Every file that is seen has exactly one."""

    READ = "read"
    IN_PART = "read_in_part"
    """Read, except for what its notes name: pages, bytes, rows."""
    LEFT_ALONE = "left_alone"
    """Not read on purpose: another kind, hidden, empty, a second way to a file that is read."""
    FAILED = "failed"
    """Could not be read, and the index has nothing of it."""
    KEPT = "kept"
    """Could not be read; the index still has its old version, which stays searchable."""


_HEADS = {FileStatus.IN_PART: "read in part", FileStatus.FAILED: "not read", FileStatus.KEPT: "not read"}
_NAMED = 10
"""Files named in one line."""


@dataclass(frozen=True, slots=True)
class FileAccount:
    """A file or, with `/` at the end of `path`, a folder that was not entered.

    `path` is relative to the folder that is read, with `/` and only printable characters. `notes` are lines: first why, and
    what to do. A file with status READ may have notes too. `documents` is how many came of it (rows of a .jsonl).
    """

    path: str
    status: FileStatus
    notes: tuple[str, ...] = ()
    documents: int = 0

    def __str__(self) -> str:
        return f"{self.path}: {'; '.join(self.notes)}" if self.notes else self.path

    def noting(self, *notes: str, status: FileStatus | None = None) -> FileAccount:
        """The same with further notes, and with another status if that is given."""
        return replace(self, status=status or self.status, notes=(*self.notes, *map(printable, notes)))


def counts(files: Sequence[FileAccount]) -> dict[FileStatus, int]:
    """The number of files of each status, also of those that none has. The sum is `len(files)`."""
    return {status: sum(file.status is status for file in files) for status in FileStatus}


def remarks(files: Sequence[FileAccount]) -> list[str]:
    """A line for each file with something to say; those read or left alone with one remark share a line."""
    lines: list[str] = []
    read: dict[str, list[str]] = {}
    left: dict[str, list[str]] = {}
    for file in files:
        if file.status is FileStatus.LEFT_ALONE:
            left.setdefault("; ".join(file.notes), []).append(file.path)
        elif file.status is FileStatus.READ and file.notes:
            read.setdefault("; ".join(file.notes), []).append(file.path)
        elif file.notes:
            lines.append(f"{_HEADS[file.status]}: {file}")
    before = [f"read: {names(paths)}: {remark}" for remark, paths in read.items()]
    return before + lines + [f"left alone: {names(paths)}: {reason}" for reason, paths in left.items()]


def names(paths: Sequence[str]) -> str:
    """The first paths, and the number of the others."""
    shown = ", ".join(paths[:_NAMED])
    return f"{shown} and {len(paths) - _NAMED} more (`lorag ingest -o json` names all)" if len(paths) > _NAMED else shown


def printable(text: str) -> str:
    """`text` in one line: control characters, separators of lines and halves of surrogate pairs are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def printable_path(path: PurePath) -> str:
    """A path for messages. Bytes that are no UTF-8 are written as `\\xe9`."""
    raw = path.as_posix().encode("utf-8", "surrogateescape")
    return printable(raw.decode("utf-8", "backslashreplace"))


def is_utf8(path: PurePath) -> bool:
    """Whether a path can be stored and shown as it is."""
    try:
        path.as_posix().encode()
    except UnicodeEncodeError:
        return False
    return True
