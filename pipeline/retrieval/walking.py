"""Walks a folder of documents: every file below it, and why something is passed over.

Links are followed only to places inside the folder, and no folder is entered twice, so a walk ends whatever the links. Knows no
kinds of files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval.account import FileAccount, FileStatus, is_utf8, printable, printable_path

LEAVES = "a link that leads out of the folder"
_SPECIAL = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))


def walk(folder: Path) -> Iterator[Path | FileAccount]:
    """All that lies below `folder`, in path order: the path of each file, the account of everything that is no file to read.

    A hidden folder, one that cannot be opened and a link that is not followed are one account each. Raises InputError if `folder`
    itself cannot be opened.
    """
    return _Walk(folder, folder.resolve()).below(folder)


@dataclass(frozen=True, slots=True)
class _Walk:
    folder: Path
    root: Path
    linked: dict[Path, Path] = field(default_factory=dict)
    """Folders that were entered by a link: the real place → the link."""

    def below(self, start: Path) -> Iterator[Path | FileAccount]:
        waiting = [start]
        while waiting:
            path = waiting.pop()
            if path != start:
                found = self._seen(path)
                if found is not None:
                    yield found
                    continue
            try:
                with os.scandir(path) as entries:
                    names = sorted(entry.name for entry in entries)
            except OSError as error:
                if path == start:
                    raise InputError(f"{path}: cannot be opened ({error.strerror})") from error
                yield self._account(path, FileStatus.FAILED, f"cannot be opened ({error.strerror}); let it be read", "/")
                continue
            waiting += [path / name for name in reversed(names)]

    def _seen(self, path: Path) -> Path | FileAccount | None:
        """A file, an account, or None for a folder to enter."""
        link = False
        try:
            mode = path.lstat().st_mode
            if link := stat.S_ISLNK(mode):
                mode = path.stat().st_mode
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links
            if path.name.startswith("."):
                return self._hidden(path, "")
            reason = getattr(error, "strerror", None) or str(error)
            if link:
                return self._account(path, FileStatus.FAILED, f"cannot be read: a link that leads nowhere ({reason}); mend it")
            return self._account(path, FileStatus.FAILED, f"cannot be read ({reason})")
        if path.name.startswith("."):
            return self._hidden(path, "/" if stat.S_ISDIR(mode) else "")
        if stat.S_ISREG(mode):
            return path
        for is_special, name in _SPECIAL:
            if is_special(mode):
                return self._account(path, FileStatus.LEFT_ALONE, f"{name}, not a file")
        if not is_utf8(Path(path.name)):
            reason = "the folder's name is not UTF-8, so nothing in it was read; rename it"
            return self._account(path, FileStatus.FAILED, reason, "/")
        return self._linked_folder(path) if link else None

    def _linked_folder(self, path: Path) -> FileAccount | None:
        """None if the link is to be followed: to a place inside the folder that the walk comes to in no other way."""
        place = path.resolve()
        if not place.is_relative_to(self.root):
            return self._account(path, FileStatus.FAILED, f"{LEAVES}; copy what it leads to into the folder", "/")
        if not any(part.startswith(".") for part in place.relative_to(self.root).parts):
            return self._account(path, FileStatus.LEFT_ALONE, "a link to a folder that is read in its own place", "/")
        if any(place.is_relative_to(known) or known.is_relative_to(place) for known in self.linked):
            return self._account(
                path, FileStatus.LEFT_ALONE, "a link to a folder that overlaps one that another link leads to", "/"
            )
        self.linked[place] = path
        return None

    def _hidden(self, path: Path, mark: str) -> FileAccount:
        return self._account(path, FileStatus.LEFT_ALONE, "hidden, its name begins with a dot", mark)

    def _account(self, path: Path, status: FileStatus, note: str, mark: str = "") -> FileAccount:
        return FileAccount(printable_path(path.relative_to(self.folder)) + mark, status, (printable(note),))
