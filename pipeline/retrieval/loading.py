"""From a folder to documents: walks it, reads every file of a kind that has a reader, and accounts for all others.

Whatever goes wrong with a file stays with that file: the others are read, and its account says what it was and what to do. Knows
nothing of chunks, vectors or earlier loads.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from lorag.pipeline.errors import HoldsNoText, InputError
from lorag.pipeline.records import Document
from lorag.pipeline.retrieval.account import FileAccount, FileStatus, is_utf8, printable, printable_path
from lorag.pipeline.retrieval.file_content import Content, File
from lorag.pipeline.retrieval.inline_data import without_inline_data
from lorag.pipeline.retrieval.readers import KINDS, READERS
from lorag.pipeline.retrieval.walking import LEAVES, walk

__all__ = ["KINDS", "Loaded", "LoadedFile", "load_file", "load_folder", "load_one", "read_file"]

_LINE = re.compile(r"^:(\d+): ")
_SURROGATES = re.compile("[\ud800-\udfff]")

MAX_PATH = 1000
"""Maximum characters of a file's path below the folder: every passage has three copies of it."""

MAX_BYTES = 256 * 2**20
"""Maximum bytes of a file, which is held in memory as a whole."""


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file's documents, none unless it was read or read in part, and its account."""

    account: FileAccount
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that was seen in a folder, in path order."""

    files: tuple[LoadedFile, ...]

    @property
    def documents(self) -> tuple[Document, ...]:
        return tuple(document for file in self.files for document in file.documents)

    @property
    def accounts(self) -> tuple[FileAccount, ...]:
        return tuple(file.account for file in self.files)


def load_folder(folder: Path) -> Loaded:
    """Read every supported file below `folder`. Each file, hidden folder, unreadable folder and link has its account.

    Raises:
        InputError: the folder does not exist or cannot be opened.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; give the folder that holds the documents")
    found = (LoadedFile(seen) if isinstance(seen, FileAccount) else load_one(seen, folder) for seen in walk(folder))
    return Loaded(tuple(found))


def load_one(path: Path, folder: Path) -> LoadedFile:
    """Read one file below `folder`, of any kind. Raises nothing: what goes wrong is in the account."""
    name = printable_path(path.relative_to(folder))
    if path.suffix.lower() not in READERS:
        kind = printable(path.suffix.lower()) or "without a suffix"
        return LoadedFile(FileAccount(name, FileStatus.LEFT_ALONE, (f"not a kind that is read ({kind})",)))
    try:
        content = read_file(path, folder)
    except InputError as error:
        status = FileStatus.LEFT_ALONE if isinstance(error, HoldsNoText) else FileStatus.FAILED
        reason = _LINE.sub(r"line \1: ", str(error).removeprefix(f"{path}: ").removeprefix(f"{path}"))
        reason = reason.replace(str(path), path.name)
        return LoadedFile(FileAccount(name, status, (printable(" ".join(reason.split())),)))
    status = FileStatus.IN_PART if content.missing else FileStatus.READ
    notes = tuple(map(printable, (*content.missing, *content.notes)))
    return LoadedFile(FileAccount(name, status, notes, len(content.documents)), content.documents)


def load_file(path: Path, folder: Path) -> tuple[Document, ...]:
    """The documents of one file below `folder`: one, or one a row for .jsonl. Raises as `read_file` does."""
    return read_file(path, folder).documents


def read_file(path: Path, folder: Path) -> Content:
    """Read one file below `folder`.

    Raises:
        HoldsNoText: there is no text in it.
        InputError: the file is of another kind or cannot be read, whatever the reason.
        DataError: a row of a .jsonl file is wrong; names file and line.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: not a kind that is read ({' '.join(READERS)})")
    relative = path.relative_to(folder)
    if not is_utf8(relative):
        raise InputError(f"{path}: its name is not UTF-8; rename it")
    if len(str(relative)) > MAX_PATH:
        raise InputError(f"{path}: its path has {len(str(relative))} characters; {MAX_PATH} are the most: move it up")
    data = _bytes(path, folder)
    try:
        content = reader(File(path, relative.as_posix(), data))
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: does not fit into memory; split it") from error
    except Exception as error:  # a parser may raise anything on damaged or hostile bytes
        detail = " ".join(str(error).split())[:200]
        what = f"{type(error).__name__}: {detail}" if detail else type(error).__name__
        raise InputError(f"{path}: cannot be parsed as {path.suffix.lower()} ({what}); open it, and save it anew") from error
    if not any(document.text.strip() for document in content.documents):
        raise HoldsNoText(f"{path}: holds no text")
    return _storable(_without_inline_data(content))


def _without_inline_data(content: Content) -> Content:
    reduced = [without_inline_data(document) for document in content.documents]
    left_out = sum(characters for _, characters in reduced)
    if not left_out:
        return content
    note = f"{left_out} characters of inline images or other inline files left out"
    return replace(content, documents=tuple(document for document, _ in reduced), notes=(*content.notes, note))


def _bytes(path: Path, folder: Path) -> bytes:
    """The content of a regular file inside `folder`. Never waits for a pipe or a device. Raises InputError."""
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{path}: {LEAVES}; copy the file into it")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{path}: not a file; take it out of the folder")
            if status.st_size > MAX_BYTES:
                raise InputError(f"{path}: has {status.st_size} bytes; {MAX_BYTES} are the most: split it")
            data = file.read(MAX_BYTES + 1)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except MemoryError as error:
        raise InputError(f"{path}: does not fit into memory; split it") from error
    if not data:
        raise HoldsNoText(f"{path}: is empty")
    return data


def _storable(content: Content) -> Content:
    """Halves of surrogate pairs, which no store takes, replaced by U+FFFD, and counted."""
    replaced, documents = 0, []
    for document in content.documents:
        text, in_text = _SURROGATES.subn("\ufffd", document.text)
        title, in_title = _SURROGATES.subn("\ufffd", document.title)
        replaced += in_text + in_title
        documents.append(replace(document, text=text, title=title) if in_text or in_title else document)
    if not replaced:
        return content
    note = f"{replaced} halves of surrogate pairs, which are no characters, replaced"
    return replace(content, documents=tuple(documents), missing=(*content.missing, note))
