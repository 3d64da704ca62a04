"""From a folder to documents: .txt, .md, .html, .pdf and .jsonl.

A file that cannot be read does not stop the others; it is reported by name with the reason. Knows nothing of chunks, vectors or
earlier loads.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Document
from lorag.pipeline.retrieval import html_text

_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_TITLE = re.compile(r"# +(.+?)[ #]*\r?$")

MAX_TITLE, MAX_ID, MAX_KEYS, MAX_METADATA = 1000, 200, 32, 4096
"""Maximum characters of a title and of a row's id, and keys and JSON bytes of a row's metadata: every passage has a copy of
all."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file of a supported kind without a usable document. `path` is relative to the folder, with `/`; `reason` is one line."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The content of a folder, in path order. `ignored` are files of unsupported kinds."""

    documents: tuple[Document, ...]
    skipped: tuple[Skipped, ...] = ()
    ignored: tuple[str, ...] = ()


def load_folder(folder: Path) -> Loaded:
    """Read every supported file below `folder`.

    Hidden files and folders (name starts with a dot) are ignored. A symlink to a place outside the folder is skipped and
    reported, as are unreadable and empty files.

    Raises:
        InputError: the folder does not exist, or no file in it has a usable document (the reasons are in the message).
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; give the folder that holds the documents")
    documents: list[Document] = []
    skipped: list[Skipped] = []
    ignored: list[str] = []
    for path in _files(folder):
        relative = path.relative_to(folder).as_posix()
        if path.suffix.lower() not in _READERS:
            ignored.append(relative)
            continue
        try:
            documents += load_file(path, folder)
        except InputError as error:
            skipped.append(Skipped(relative, str(error).removeprefix(f"{path}: ")))
    if not documents:
        kinds = " ".join(_READERS)
        detail = "; ".join(map(str, skipped[:3])) or f"{len(ignored)} files of other kinds"
        raise InputError(f"{folder}: no document that can be used ({detail}); put {kinds} files there")
    return Loaded(tuple(documents), tuple(skipped), tuple(ignored))


def load_file(path: Path, folder: Path) -> tuple[Document, ...]:
    """Read one file below `folder`: one document, or one a row for .jsonl.

    Raises:
        InputError: the file cannot be read, is of another kind, is empty, or is a symlink to a place outside the folder.
        DataError: a row of a .jsonl file is wrong; names file and line.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: not a kind that is read ({' '.join(_READERS)})")
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{path}: a link that leads out of the folder; copy the file into it")
        data = path.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    file = _File(path, path.relative_to(folder).as_posix(), data)
    documents = reader(file)
    if not any(document.text.strip() for document in documents):
        raise InputError(f"{path}: holds no text")
    return documents


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


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*"), key=lambda found: found.relative_to(folder).parts):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and (path.is_file() or path.is_symlink()) and not path.is_dir():
            yield path


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


def _read_text(file: _File) -> tuple[Document, ...]:
    return (file.document("", decode(file.data, str(file.path))),)


def _read_markdown(file: _File) -> tuple[Document, ...]:
    text = decode(file.data, str(file.path))
    return (file.document(_markdown_title(text), text),)


def _markdown_title(text: str) -> str:
    fenced = False
    for line in text.split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and (match := _TITLE.match(line)):
            return match.group(1).strip()
    return ""


def _read_html(file: _File) -> tuple[Document, ...]:
    page = html_text.extract(decode(file.data, str(file.path)))
    return (file.document(page.title or _markdown_title(page.text), page.text, segments=page.segments),)


def _read_pdf(file: _File) -> tuple[Document, ...]:
    from lorag.pipeline.retrieval.pdf_text import extract

    title, text = extract(file.data, str(file.path))
    return (file.document(title, text),)


def _read_jsonl(file: _File) -> tuple[Document, ...]:
    documents: dict[str, Document] = {}
    for number, line in enumerate(file.data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        document = _row_document(file, line, f"{file.path}:{number}")
        if document.id in documents:
            raise DataError(f"{file.path}:{number}: id {document.id.partition('#')[2]!r} stands twice; ids must differ")
        documents[document.id] = document
    return tuple(documents.values())


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


_READERS: dict[str, Callable[[_File], tuple[Document, ...]]] = {
    ".txt": _read_text,
    ".md": _read_markdown,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_pdf,
    ".jsonl": _read_jsonl,
}
KINDS = tuple(_READERS)
"""Suffixes of the files that are read."""
