"""One JSON document a file, read strictly: errors name the file, the line and the path to the value.

The line is computed only for an error, so reading a large file costs no more than `json.loads`. Reads `.gz` too.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lorag.pipeline.errors import DataError
from lorag.training.data.fields import Fields

_STEP = re.compile(r"(.*?)(?:\[(\d+)\])?")
_DECODER = json.JSONDecoder()
_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(u[dD][89a-fA-F]..)|\\.")
_BLANK = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class JsonPlace:
    """The location of a value in the file at `path`; `trail` is its path, such as `("data[0]", "paragraphs[3]")`."""

    path: Path
    text: str = field(repr=False)
    trail: tuple[str, ...] = ()

    def inside(self, name: str) -> JsonPlace:
        return JsonPlace(self.path, self.text, (*self.trail, name))

    def __str__(self) -> str:
        line = self.text.count("\n", 0, _offset(self.text, self.trail)) + 1
        return " ".join(part for part in (f"{self.path}:{line}", ".".join(self.trail)) if part)


def read_object(path: Path, extra: Counter[str] | None = None) -> Fields:
    """The file's one object; unknown keys are counted in `extra` if it is given.

    Raises DataError if it is missing, damaged, or holds something else.
    """
    place, value = _read(path)
    if not isinstance(value, dict):
        raise DataError(f"{place}: a JSON object is expected, not {type(value).__name__}")
    return Fields(place, value, extra)


def read_array(path: Path, extra: Counter[str] | None = None) -> tuple[Fields, ...]:
    """The objects of the file's one array. Raises DataError as `read_object` does, and for an empty array."""
    place, value = _read(path)
    if not isinstance(value, list) or not value:
        raise DataError(f"{place}: a JSON array with at least one object is expected")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise DataError(f"{place.inside(f'[{number}]')}: a JSON object is expected, not {type(item).__name__}")
    return tuple(Fields(place.inside(f"[{number}]"), item, extra) for number, item in enumerate(value))


def _read(path: Path) -> tuple[JsonPlace, object]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        value = json.loads(text)
        if r"\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return JsonPlace(path, text), value
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the compressed file is cut off or damaged; copy it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); convert the file to UTF-8") from error
    except UnicodeEncodeError as error:
        raise DataError(f"{path}{_half_pair(text)}: holds half a surrogate pair, which is no character; write it anew") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno})") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    except RecursionError as error:
        raise DataError(f"{path}: brackets nested too deeply") from error


def _half_pair(text: str) -> str:
    """`:LINE` of the first escape that is half a surrogate pair."""
    found = next((match for match in _ESCAPE.finditer(text) if match[1]), None)
    return f":{text.count(chr(10), 0, found.start()) + 1}" if found else ""


def _offset(text: str, trail: tuple[str, ...]) -> int:
    """The offset of the value at the end of `trail`. The text must be valid JSON that holds it."""
    at = _skip(text, 0)
    for step in trail:
        match = _STEP.fullmatch(step)
        assert match is not None
        key, index = match.groups()
        if key:  # an absent key gives the end of the object
            at = _member(text, at, key)
        if index is not None:
            at = _item(text, at, int(index))
    return at


def _member(text: str, at: int, key: str) -> int:
    """The offset of the value of `key` in the object at offset `at`."""
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if name == key:
            return at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
    return at


def _item(text: str, at: int, index: int) -> int:
    """The offset of item `index` of the array at offset `at`."""
    at = _skip(text, at + 1)
    for _ in range(index):
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
    return at


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at
