"""From a folder to documents: .txt, .md, .html, .pdf and .jsonl.

Whatever goes wrong with a file stays with that file: the others are read, and its account says what it was and what to do. Knows
nothing of chunks, vectors or earlier loads.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lorag.pipeline.errors import DataError, HoldsNoText, InputError
from lorag.pipeline.records import Document
from lorag.pipeline.retrieval import html_text
from lorag.pipeline.retrieval.account import FileAccount, FileStatus, is_utf8, printable, printable_path
from lorag.pipeline.retrieval.walking import LEAVES, walk

_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_TITLE = re.compile(r"# +(.+?)[ #]*\r?$")
_SURROGATES = re.compile("[\ud800-\udfff]")

MAX_TITLE, MAX_ID, MAX_KEYS, MAX_METADATA = 1000, 200, 32, 4096
"""Maximum characters of a title and of a row's id, and keys and JSON bytes of a row's metadata: every passage has a copy of
all."""

MAX_PATH = 1000
"""Maximum characters of a file's path below the folder: every passage has three copies of it."""

MAX_BYTES = 256 * 2**20
"""Maximum bytes of a file, which is held in memory as a whole."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a reader made of a file. `missing` are lines on what it could not read of it, with what to do: the file then counts
    as read in part. `notes` are lines on how the rest was read."""

    documents: tuple[Document, ...]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


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
    if path.suffix.lower() not in _READERS:
        kind = printable(path.suffix.lower()) or "without a suffix"
        return LoadedFile(FileAccount(name, FileStatus.LEFT_ALONE, (f"not a kind that is read ({kind})",)))
    try:
        content = read_file(path, folder)
    except InputError as error:
        status = FileStatus.LEFT_ALONE if isinstance(error, HoldsNoText) else FileStatus.FAILED
        reason = str(error).removeprefix(f"{path}: ").replace(str(path), path.name)
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
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: not a kind that is read ({' '.join(_READERS)})")
    relative = path.relative_to(folder)
    if not is_utf8(relative):
        raise InputError(f"{path}: its name is not UTF-8; rename it")
    if len(str(relative)) > MAX_PATH:
        raise InputError(f"{path}: its path has {len(str(relative))} characters; {MAX_PATH} are the most: move it up")
    data = _bytes(path, folder)
    try:
        content = reader(_File(path, relative.as_posix(), data))
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
    return _storable(content)


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


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    relative: str
    data: bytes

    def metadata(self) -> dict[str, Any]:
        """Metadata of every document, for filters: its format and its top folder."""
        top, slash, _ = self.relative.partition("/")
        return {"format": self.path.suffix.lower().lstrip("."), "folder": top if slash else ""}

    def document(self, title: str, text: str, **more: Any) -> Document:
        digest = hashlib.sha256(self.data).hexdigest()
        metadata = MappingProxyType(self.metadata())
        title = title[:MAX_TITLE] or self.path.stem
        return Document(self.relative, title, text, str(self.path), digest, metadata, **more)


def decode(data: bytes, name: str) -> str:
    """Text of a file, with its line ends.

    UTF-8, with or without a byte order mark; UTF-16 with one; else Latin-1, which decodes any byte. Offsets count in the
    decoded text, after the mark.

    Raises:
        InputError: the bytes are no text.
    """
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig"), (b"", "latin-1")):
        if data.startswith(mark):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                continue
            if "\0" in text:
                raise InputError(f"{name}: binary data, not text; rename it or take it out of the folder")
            return text
    raise AssertionError("latin-1 decodes any bytes")


def _read_text(file: _File) -> Content:
    return Content((file.document("", decode(file.data, str(file.path))),))


def _read_markdown(file: _File) -> Content:
    text = decode(file.data, str(file.path))
    return Content((file.document(_markdown_title(text), text),))


def _markdown_title(text: str) -> str:
    fenced = False
    for line in text.split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and (match := _TITLE.match(line)):
            return match.group(1).strip()
    return ""


def _read_html(file: _File) -> Content:
    page = html_text.extract(decode(file.data, str(file.path)))
    return Content((file.document(page.title or _markdown_title(page.text), page.text, segments=page.segments),))


def _read_pdf(file: _File) -> Content:
    from lorag.pipeline.retrieval.pdf_text import extract

    title, text = extract(file.data, str(file.path))
    return Content((file.document(title, text),))


def _read_jsonl(file: _File) -> Content:
    documents: dict[str, Document] = {}
    for number, line in enumerate(file.data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        document = _row_document(file, line, f"{file.path}:{number}")
        if document.id in documents:
            raise DataError(f"{file.path}:{number}: id {document.id.partition('#')[2]!r} stands twice; ids must differ")
        documents[document.id] = document
    return Content(tuple(documents.values()))


def _row_document(file: _File, line: bytes, where: str) -> Document:
    try:
        row = json.loads(line, parse_constant=_refuse)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: holds half of a surrogate pair; write the character whole") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f'{where}: not an object; a row is {{"id": …, "title": …, "text": …}}')
    row_id, title, text = row.pop("id", None), row.pop("title", ""), row.pop("text", None)
    if isinstance(row_id, bool) or not isinstance(row_id, str | int) or row_id == "":
        raise DataError(f'{where}: "id" must be a non-empty string or a number')
    if not isinstance(text, str) or not text.strip():
        raise DataError(f'{where}: "text" must be a non-empty string')
    if not isinstance(title, str):
        raise DataError(f'{where}: "title" must be a string')
    _check_size(str(row_id), title, row, where)
    metadata = MappingProxyType({**row, **file.metadata()})
    digest = hashlib.sha256(line.strip()).hexdigest()
    return Document(f"{file.relative}#{row_id}", title or str(row_id), text, str(file.path), digest, metadata)


def _check_size(row_id: str, title: str, metadata: dict[str, Any], where: str) -> None:
    if len(row_id) > MAX_ID:
        raise DataError(f'{where}: "id" has {len(row_id)} characters; {MAX_ID} are the most')
    if len(title) > MAX_TITLE:
        raise DataError(f'{where}: "title" has {len(title)} characters; {MAX_TITLE} are the most')
    size = len(json.dumps(metadata, ensure_ascii=False).encode())
    if len(metadata) > MAX_KEYS or size > MAX_METADATA:
        what = f"{len(metadata)} keys and {size} bytes beside id, title and text; {MAX_KEYS} and {MAX_METADATA} are the most"
        raise DataError(f"{where}: {what}, since every passage holds them again: put what is to be found into the text")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


_READERS: dict[str, Callable[[_File], Content]] = {
    ".txt": _read_text,
    ".md": _read_markdown,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_pdf,
    ".jsonl": _read_jsonl,
}
KINDS = tuple(_READERS)
"""Suffixes of the files that are read."""
