"""Rows that survive a kill: whole blocks stay, cut ones go, another run's are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.row_file import Row, RowFile, flat

HEADER = {"seed": 0, "adapters": {"judge": "0001-aa"}}


def blocks_of(path: Path) -> list[list[Row]]:
    rows = RowFile(path, HEADER)
    try:
        return [[{k: v for k, v in row.items() if k != "block"} for row in block] for block in rows.blocks()]
    finally:
        rows.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two blocks, of two rows and of one."""
    rows = RowFile(tmp_path / "run" / "rows.jsonl", HEADER)
    rows.add([{"id": "a"}, {"id": "b", "score": 0.1 + 0.2}])
    rows.add([{"id": "ç"}])
    rows.close()
    return rows.path


def test_what_is_written_is_read_back_and_lies_there_as_lines(path: Path) -> None:
    assert blocks_of(path) == [[{"id": "a"}, {"id": "b", "score": 0.30000000000000004}], [{"id": "ç"}]]
    header, first, *_ = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert (header, first) == ({"header": HEADER}, {"block": [0, 2], "id": "a"})


@pytest.mark.parametrize("cut", range(1, 60, 4))
def test_wherever_a_kill_cut_the_file_whole_blocks_stay(path: Path, cut: int) -> None:
    """The file without its last `cut` bytes, opened, and the same rows added again: the same bytes."""
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    rows = RowFile(path, HEADER)
    left = [len(block) for block in rows.blocks()]
    assert left == ([2] if len(whole) - cut >= whole.index(b'{"block": [1') else [])
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[: 1 + sum(left)])
    for block in [[{"id": "a"}, {"id": "b", "score": 0.1 + 0.2}], [{"id": "ç"}]]:
        rows.add(block)
    rows.close()
    assert path.read_bytes() == whole


def test_a_header_that_was_cut_off_is_written_anew(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10])
    assert blocks_of(path) == []
    assert path.read_bytes() == json.dumps({"header": HEADER}, sort_keys=True).encode() + b"\n"


def test_rows_that_differ_replace_all_from_there(path: Path) -> None:
    rows = RowFile(path, HEADER)
    rows.add([{"id": "a"}, {"id": "b", "score": 0.1 + 0.2}])
    rows.add([{"id": "other"}, {"id": "still other"}])
    rows.close()
    assert blocks_of(path)[1:] == [[{"id": "other"}, {"id": "still other"}]]


def test_after_skip_rows_are_added_at_the_end(path: Path) -> None:
    rows = RowFile(path, HEADER)
    rows.skip()
    rows.add([{"id": "d"}])
    rows.close()
    assert [len(block) for block in blocks_of(path)] == [2, 1, 1]


def test_another_header_is_refused_by_what_differs(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        RowFile(path, {"seed": 1, "adapters": {"judge": "0002-bb"}})
    assert str(caught.value) == (
        f'{path}: was begun with another adapters.judge ("0001-aa", now "0002-bb"), seed (0, now 1); '
        "set it back, or name another folder"
    )
    assert path.read_bytes() == before


def test_a_file_that_is_no_runs_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("buy milk\n")
    with pytest.raises(InputError, match="is no file of a run"):
        RowFile(tmp_path / "notes", HEADER)
    assert (tmp_path / "notes").read_text() == "buy milk\n"


def test_one_run_at_a_time(path: Path) -> None:
    rows = RowFile(path, HEADER)
    with pytest.raises(InputError, match="another run writes there"):
        RowFile(path, HEADER)
    rows.close()
    assert len(blocks_of(path)) == 2


def test_nested_keys_are_named_by_their_way() -> None:
    assert flat({"a": {"b": 1, "c": {"d": None}}, "e": [1]}) == {"a.b": 1, "a.c.d": None, "e": [1]}
