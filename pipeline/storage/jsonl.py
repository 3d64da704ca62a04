"""JSON Lines files: strict reading with file and line in every error, atomic writing.

Does not know what the objects mean. `.gz` files are read and written compressed.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.errors import DataError
from lorag.pipeline.storage.atomic import write_file
from lorag.pipeline.storage.digests import file_digest
from lorag.pipeline.storage.plain_files import parse_json


@dataclass(frozen=True, slots=True)
class JsonLine:
    """One object of a file; `where` is `FILE:LINE`."""

    where: str
    fields: Mapping[str, object]


def read_lines(path: Path) -> Iterator[JsonLine]:
    """Yield each object of a .jsonl or .jsonl.gz file in order. Blank lines are skipped.

    Raises DataError, naming file and line, for a file that is missing, cut off, not UTF-8 or without rows. It also does for a
    line that is not one JSON object with unique keys.
    """
    number = 0
    empty = True
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, data in enumerate(file, start=1):
                if number == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")
                if data.strip():
                    empty = False
                    yield JsonLine(f"{path}:{number}", _object(data, f"{path}:{number}"))
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}:{number + 1}: the compressed file is cut off or damaged; copy it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    if empty:
        raise DataError(f"{path}: has no rows")


def _object(data: bytes, where: str) -> Mapping[str, object]:
    try:
        found = parse_json(data)
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: holds half a surrogate pair ({error.object[error.start]!a}), which is no character") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text (byte {error.start}); convert the file to UTF-8") from error
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error})") from error
    except RecursionError as error:
        raise DataError(f"{where}: not a row (brackets nested too deeply)") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: a JSON object is expected, not {type(found).__name__}")
    return found


def write_jsonl(objects: Iterable[Mapping[str, object]], path: Path) -> int:
    """Write objects one a line, whole or not at all (written aside, synced, renamed), and return their number.

    Missing folders are made. The bytes depend on the objects only, also for .gz. Raises DataError if the folder or file cannot be
    written; the old file stays.
    """
    lines = [json.dumps(dict(each), ensure_ascii=False) + "\n" for each in objects]
    data = "".join(lines).encode("utf-8")
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    try:
        write_file(path, data)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
    return len(lines)


def file_digests(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 (hex) of each file's bytes, by the path as given; cards identify data by it.

    Raises DataError for a file that cannot be read.
    """
    digests = {}
    for path in paths:
        try:
            digests[str(path)] = file_digest(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    return digests
