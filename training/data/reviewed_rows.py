"""The test rows that follow from what a person said of made rows.

    ROWS/test/ROLE.jsonl       what the person kept or corrected, as human rows: the honest test
    ROWS/made-test/ROLE.jsonl  the made test rows that nobody has read
    ROWS/as-made/ROLE.jsonl    the rows that were read, as they were made: so a verdict can be changed

The files follow from each other and from the verdicts alone, and a row is written to its new place before it leaves the old one.
So a kill between two of them loses nothing, and the next call completes the change. Rows are passed on as the JSON objects that
they are: a verdict changes one of thousands, and reading each strictly took seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Role
from lorag.pipeline.storage.jsonl import read_lines, write_jsonl
from lorag.training.data.formats.splitting import TEST
from lorag.training.data.making.human import MADE_TEST
from lorag.training.data.reviewed import Reviewed, Verdict

AS_MADE = "as-made"

Fields = Mapping[str, object]
_Rows = dict[str, Fields]

_ID = {Role.SYNTHESIZER: "id", Role.EMBEDDER: "query_id"}
"""The roles that a verdict speaks for, with the key of their rows' ids. Rows made of the same question have the same id."""


def write_reviewed_rows(folder: Path, verdicts: Mapping[str, Reviewed]) -> None:
    """Bring the test rows in line with all `verdicts`, by id. Files that are so already stay. Raises DataError."""
    for role in _ID:
        _follow(folder, role, verdicts)


def _follow(folder: Path, role: Role, verdicts: Mapping[str, Reviewed]) -> None:
    test, unread, as_made = (folder / place / f"{role.value}.jsonl" for place in (TEST, MADE_TEST, AS_MADE))
    old_test, old_unread, old_made = (_read(path, _ID[role]) for path in (test, unread, as_made))
    held = old_test | old_unread
    made = {id_: row for id_, row in held.items() if id_ in verdicts} | old_made
    left = {id_: row for id_, row in held.items() if id_ not in made}
    judged = {id_: new for id_, row in made.items() if (new := _judged(row, verdicts.get(id_), role)) is not None}
    _write(as_made, old_made, made)
    _write(unread, old_unread, {id_: row for id_, row in (left | judged).items() if _is_made(row)})
    _write(test, old_test, {id_: row for id_, row in (left | judged).items() if not _is_made(row)})


def _judged(row: Fields, said: Reviewed | None, role: Role) -> Fields | None:
    """The row as the person wants it; None if dropped."""
    if said is None:
        return row
    if said.verdict is Verdict.DROP:
        return None
    human = {**row, "origin": DataOrigin.HUMAN.value}
    if role is Role.EMBEDDER:
        return human | {"query": said.question}
    answers = row.get("answers")
    first = answers[0] if isinstance(answers, list) and answers else ""
    corrected = first and said.answer not in ("", first)
    return human | {"question": said.question} | ({"answers": [said.answer]} if corrected else {})


def _is_made(row: Fields) -> bool:
    return row.get("origin") == DataOrigin.MADE


def _read(path: Path, key: str) -> _Rows:
    rows: _Rows = {}
    for line in read_lines(path) if path.is_file() else ():
        if key not in line.fields:
            raise DataError(f"{line.where}: the row has no {key!r}; put it back, or take the row out")
        rows[str(line.fields[key])] = line.fields
    return rows


def _write(path: Path, old: _Rows, new: _Rows) -> None:
    """Replace the file if its rows change. A file without rows is none."""
    rows: Iterable[Fields] = new.values()
    if list(old.values()) == list(rows):
        return
    if new:
        write_jsonl(rows, path)
    else:
        path.unlink(missing_ok=True)
