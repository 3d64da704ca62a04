"""A file of JSON rows to which a run appends: safe to kill at any moment, with the same bytes after any number of kills.

The first row identifies the run. Continuing with other settings is refused: some rows would be of another system. Rows are
added in blocks, each written and synced at once; a block that a kill cut off is removed. Knows nothing of the rows' meaning.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import InputError
from lorag.pipeline.storage.atomic import sync
from lorag.pipeline.storage.locks import try_lock

Row = Mapping[str, Any]

BLOCK = "block"
"""Key of a row's block: `[number, rows in it]`."""


class RowFile:
    """Rows in `path`, opened for one process.

    `close` it when done. Raises InputError if the file has another header, is not a row file, or is open elsewhere.
    """

    def __init__(self, path: Path, header: Row) -> None:
        self.path = path
        self._header = _line({"header": header})
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        try:
            if not try_lock(self._file):
                raise InputError(f"{path}: another run writes there; wait for it, or name another folder")
            self._blocks = self._read(header)
        except BaseException:
            self._file.close()
            raise
        self._next = 0

    def blocks(self) -> Iterator[Sequence[Row]]:
        """The complete blocks in the file when it was opened."""
        yield from self._blocks

    def add(self, rows: Sequence[Row]) -> None:
        """Add the next block. If the file has it already, nothing is written; if it has another one there, that and all later
        ones are removed."""
        block = [{BLOCK: [self._next, len(rows)], **row} for row in rows]
        if not block:
            return
        if self._next >= len(self._blocks) or self._blocks[self._next] != json.loads(json.dumps(block)):
            if self._next < len(self._blocks):
                self._keep(self._next)
            self._write(b"".join(_line(row) for row in block))
            self._blocks.append(block)
        self._next += 1

    def skip(self) -> None:
        """Continue after the existing blocks."""
        self._next = len(self._blocks)

    def close(self) -> None:
        self._file.close()

    def _read(self, header: Row) -> list[Sequence[Row]]:
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        if not lines or not lines[0].endswith(b"\n"):
            self._file.truncate(0)
            self._write(self._header)
            sync(self.path.parent)
            return []
        self._require(lines[0], header)
        blocks: list[Sequence[Row]] = []
        rows: list[Row] = []
        for line in lines[1:]:
            row = _parse(line)
            if row is None or row[BLOCK][0] != len(blocks):
                break
            rows.append(row)
            if len(rows) == row[BLOCK][1]:
                blocks.append(rows)
                rows = []
        self._blocks = blocks
        self._keep(len(blocks))
        return blocks

    def _require(self, first: bytes, header: Row) -> None:
        found = _parse(first, "header")
        if found is None:
            raise InputError(f"{self.path}: is no file of a run; name another folder")
        before, now = flat(found["header"]), flat(json.loads(self._header)["header"])
        other = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        if other:
            what = ", ".join(f"{key} ({_shown(before.get(key))}, now {_shown(now.get(key))})" for key in other[:3])
            more = f" and {len(other) - 3} more" if len(other) > 3 else ""
            raise InputError(f"{self.path}: was begun with another {what}{more}; set it back, or name another folder")

    def _keep(self, count: int) -> None:
        """Truncate the file after `count` blocks."""
        del self._blocks[count:]
        size = len(self._header) + sum(len(_line(row)) for block in self._blocks for row in block)
        if size != os.fstat(self._file.fileno()).st_size:
            self._file.truncate(size)
            os.fsync(self._file.fileno())

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())


def flat(value: object, path: str = "") -> dict[str, object]:
    """Flatten nested objects: `{"a": {"b": 1}}` → `{"a.b": 1}`."""
    if not isinstance(value, dict):
        return {path: value}
    return {key: each for name, inner in value.items() for key, each in flat(inner, f"{path}.{name}" if path else name).items()}


def _line(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False, sort_keys=True, allow_nan=False).encode() + b"\n"


def _parse(line: bytes, key: str = BLOCK) -> dict[str, Any] | None:
    """The row, or None for a line that a kill cut off."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) and key in row else None


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"
