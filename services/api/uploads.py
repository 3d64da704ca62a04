"""Receives uploads: a multipart body → files in a folder, each of a supported kind and with a safe name.

Bytes go to disk as they arrive, so memory does not grow with a file. Knows no index and no job.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from lorag.pipeline.retrieval.decoding import OLE, PDF, ZIP, is_text
from lorag.pipeline.retrieval.loading import KINDS
from lorag.pipeline.storage.atomic import OWNER_ONLY
from lorag.services.api.errors import ApiError

MAX_FILES = 64
MAX_NAME_BYTES = 200
HEAD_BYTES = 1024
_JOINERS = frozenset("\u200c\u200d")
"""Invisible, and part of words in some scripts and of some emoji."""
_EXTENDED = re.compile(
    rb";\s{0,8}filename\*\s{0,8}=\s{0,8}\"?([A-Za-z0-9_-]{1,20})'[A-Za-z0-9-]{0,20}'([^\s;\"]+)", re.IGNORECASE
)
_ARCHIVES = frozenset({".docx", ".pptx", ".xlsx", ".epub"})


def safe_name(raw: str) -> str:
    """The last part of a file name from a client, without characters that leave the folder or hide the file.

    Different names stay different: what cannot be seen is written as `%0A`, all else stays. Raises ApiError 400 if nothing is
    left or it is too long, 415 for an unsupported kind.
    """
    last = unicodedata.normalize("NFC", raw).replace("\\", "/").rpartition("/")[2]
    name = "".join(map(_visible, last)).strip(" .")
    if not Path(name).stem.strip("_"):
        raise ApiError(400, f"{raw[:80]!r} is no usable file name; name the file, such as handbook.md", param="file")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ApiError(400, f"the file name {name[:40]!r}… is too long; {MAX_NAME_BYTES} bytes are the most", param="file")
    if Path(name).suffix.lower() not in KINDS:
        raise ApiError(415, f"{name}: not a kind that is read; send {' '.join(KINDS)}", param="file", code="unsupported_file")
    return name


def _visible(letter: str) -> str:
    if letter.isprintable() or letter in _JOINERS:
        return letter
    if unicodedata.category(letter) == "Zs":
        return " "
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))


def check_content(name: str, head: bytes) -> None:
    """Raises ApiError 415 if a file's first bytes do not match the kind in its name."""
    kind = Path(name).suffix.lower()
    if kind == ".pdf":
        fits = PDF in head
    elif kind in _ARCHIVES:
        fits = head.startswith((ZIP, OLE))  # the job of one with a password says so
    else:
        fits = is_text(head)
    if not fits:
        raise ApiError(415, f"{name}: its content is not what its name says", param="file", code="unsupported_file")


async def receive(request: Request, folder: Path, *, limit: int) -> tuple[str, ...]:
    """Write the files of a multipart/form-data request into the empty `folder` and return their names in order.

    Raises ApiError 400 for a body that is no such form, for a part that is no file, and for no files, too many, two of one name
    or an empty one. Raises 413 above `limit` bytes in total and 415 for an unsupported kind.
    """
    reader = _FormReader(request.headers.get("content-type", ""), folder, limit)
    try:
        async for chunk in request.stream():
            await run_in_threadpool(reader.write, chunk)
        return await run_in_threadpool(reader.finish)
    except ClientDisconnect:
        raise ApiError(400, "the connection ended before the upload did", code="disconnected") from None
    finally:
        reader.close()


class _FormReader:
    """Reads the body in chunks: it opens a file at each part's headers and writes the part's data to it."""

    def __init__(self, content_type: str, folder: Path, limit: int) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        self._options = parse_options_header
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise ApiError(400, "send the files as multipart/form-data", code="invalid_body")
        self._folder, self._limit = folder, limit
        self._names: list[str] = []
        self._received = 0
        self._file: BinaryIO | None = None
        self._head = b""
        self._header, self._value, self._disposition = b"", b"", b""
        self._complete = False
        with _well_formed():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._open,
                    "on_part_data": self._on_data,
                    "on_part_end": self._end_file,
                    "on_end": self._on_end,
                },
            )

    def write(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received > self._limit:
            raise ApiError(413, f"the upload is larger than {self._limit} bytes; send fewer or smaller files", code="too_large")
        if chunk:
            with _well_formed():
                self._parser.write(chunk)

    def finish(self) -> tuple[str, ...]:
        if not self._complete:
            raise ApiError(400, "the form ends before its last part does", code="invalid_body")
        if not self._names:
            raise ApiError(400, "the form holds no file; send at least one under the name `file`", param="file")
        return tuple(self._names)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_end(self) -> None:
        self._complete = True

    def _open(self) -> None:
        _, options = self._options(self._disposition)
        if extended := _extended_name(self._disposition):
            options[b"filename"] = extended.encode("utf-8", "surrogateescape")
        self._disposition, self._head = b"", b""
        if b"filename" not in options:
            field = options.get(b"name", b"").decode("utf-8", "replace")
            raise ApiError(400, f"the form field {field[:80]!r} is no file; send files alone", param=field[:80] or None)
        name = safe_name(options[b"filename"].decode("utf-8", "surrogateescape"))
        if len(self._names) == MAX_FILES:
            raise ApiError(400, f"more than {MAX_FILES} files; send them in several requests", param="file")
        if name.casefold() in {known.casefold() for known in self._names}:
            raise ApiError(400, f"two of the files are named {name}; send them one after the other", param="file")
        self._names.append(name)
        descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, OWNER_ONLY)
        self._file = os.fdopen(descriptor, "wb")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        piece = data[start:end]
        if len(self._head) < HEAD_BYTES:
            self._head += piece[: HEAD_BYTES - len(self._head)]
        self._file.write(piece)

    def _end_file(self) -> None:
        assert self._file is not None
        name = self._names[-1]
        if not self._head:
            raise ApiError(400, f"{name} is empty", param="file")
        check_content(name, self._head)
        self._file.close()
        self._file = None


def _extended_name(disposition: bytes) -> str | None:
    """The name in `filename*=UTF-8''na%C3%AFve.md` (RFC 5987), which counts before a plain `filename` (RFC 6266, 4.3)."""
    found = _EXTENDED.search(disposition)
    if found is None:
        return None
    try:
        return unquote_to_bytes(found[2]).decode(found[1].decode("ascii"))
    except (LookupError, UnicodeError):  # no such encoding, or other bytes than it says
        return None


@contextmanager
def _well_formed() -> Iterator[None]:
    """Within: an error of the parser becomes an ApiError 400."""
    from python_multipart.exceptions import FormParserError

    try:
        yield
    except FormParserError:
        raise ApiError(400, "the form is not valid multipart/form-data", code="invalid_body") from None
