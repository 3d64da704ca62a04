"""Opens and reads files of unknown origin: plain files of bounded size, never through a link, never blocking.

A pipe would block the reader for ever, a device never ends, and a link may point anywhere.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from lorag.pipeline.errors import FileError


def open_plain(path: Path, limit: int) -> BinaryIO:
    """The open file. Raises FileError in one line for anything but a plain file of at most `limit` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        what = "is a link" if error.errno == errno.ELOOP else f"cannot be read ({error.strerror})"
        raise FileError(f"{path}: {what}") from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path}: is no plain file")
    raise FileError(f"{path}: {status.st_size} bytes, more than the {limit} that are allowed")


def parse_json(data: bytes) -> Any:
    """Parse JSON that every reader reads the same. Raises ValueError, or RecursionError if it is nested too deep.

    Refused besides malformed text: a byte-order mark, any encoding but UTF-8, a key given twice, NaN and Infinity, and half a
    surrogate pair. No tokenizer or terminal accepts the last.
    """
    parsed = json.loads(data.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant)
    if rb"\u" in data:
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    return parsed


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key given twice: two readers might use different values."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"key {key!r} stands there twice")
        made[key] = value
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
