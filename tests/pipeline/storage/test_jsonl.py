"""Writing JSON Lines: whole or not at all, the same bytes for the same objects, digests from an independent tool's values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lorag.pipeline.errors import DataError
from lorag.pipeline.storage.jsonl import file_digests, read_lines, write_jsonl

OBJECTS = [{"id": "a", "text": "é\u2028b"}, {"id": "b", "text": "\n"}]


@pytest.mark.parametrize("name", ["x.jsonl", "deep/er/x.jsonl.gz"])
def test_what_is_written_is_read_back_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert write_jsonl(OBJECTS, path) == 2
    assert [dict(line.fields) for line in read_lines(path)] == OBJECTS
    first = path.read_bytes()
    write_jsonl(iter(OBJECTS), path)
    assert path.read_bytes() == first
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_failure_on_the_way_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_jsonl(OBJECTS, path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_jsonl([{"id": "c"}, {"id": object()}], path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.jsonl"]


def test_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/x\.jsonl: cannot be written"):
        write_jsonl(OBJECTS, tmp_path / "file" / "x.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match=r"folder\.jsonl: cannot be written"):
        write_jsonl(OBJECTS, tmp_path / "folder.jsonl")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.jsonl"]


def test_digests(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digests([path]) == {str(path): expected}
    with pytest.raises(DataError, match="none: cannot be read"):
        file_digests([tmp_path / "none"])


def test_half_a_surrogate_pair_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "\\ud83d\\ude00"}\n{"a": "\\ud83d"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: holds half a surrogate pair"):
        list(read_lines(tmp_path / "a.jsonl"))
