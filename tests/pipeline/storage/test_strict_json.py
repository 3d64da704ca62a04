"""Strict reading of files of our own: every key known, none missing, every value of its type; no advice about adapters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import FileError
from lorag.pipeline.storage.strict_json import OPTIONAL, build, dump_json, load_json


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    count: int


@dataclass(frozen=True)
class Outer:
    name: str
    colour: Colour
    share: float
    inner: tuple[Inner, ...]
    counts: Mapping[str, int]
    note: str | None
    later: int | None = field(default=None, metadata=OPTIONAL)


GOOD: dict[str, Any] = {"name": "a", "colour": "red", "share": 1, "inner": [{"count": 2}], "counts": {"x": 3}, "note": None}
RECORD = Outer("a", Colour.RED, 1.0, (Inner(2),), {"x": 3}, None)


def test_a_record_is_read_and_written_back(tmp_path: Path) -> None:
    assert build(Outer, GOOD, "f") == RECORD
    assert json.loads(dump_json(RECORD, "f")) == GOOD
    assert build(Outer, {**GOOD, "later": 4}, "f").later == 4
    (tmp_path / "f.json").write_text(dump_json(RECORD, "f"))
    assert load_json(tmp_path / "f.json", limit=1000) == GOOD


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nme": "a"}, "f: unknown key 'nme'; it must hold exactly name, colour, share, inner, counts, note, later"),
        ({"name": ...}, "f: key 'name' is missing; it must hold exactly name, colour, share, inner, counts, note, later"),
        ({"name": 1}, "f: name must be of type str, not int"),
        ({"share": True}, "f: share must be of type float, not bool"),
        ({"share": 1e31}, "f: share must be a finite number"),
        ({"colour": "green"}, "f: colour is 'green'; allowed: red, blue"),
        ({"inner": {}}, "f: inner must be a list"),
        ({"inner": [{"count": "2"}]}, "f: inner[0]: count must be of type int, not str"),
        ({"counts": []}, "f: counts must be an object"),
        ({"counts": {"x": 1.5}}, "f: counts.x must be of type int, not float"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], says: str) -> None:
    data = {key: value for key, value in {**GOOD, **change}.items() if value is not ...}
    with pytest.raises(FileError) as caught:
        build(Outer, data, "f")
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"a": 1', "is not JSON"),
        (b'{"a": 1, "a": 2}', "is not JSON (key 'a' stands there twice)"),
        (b'{"a": NaN}', "is not JSON (NaN is no JSON number)"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (rb'{"a": "\ud800"}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b" " * 200_000, "200000 bytes, more than the 150000 that are allowed"),
    ],
)
def test_a_file_that_readers_could_take_in_two_ways_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    (tmp_path / "f.json").write_bytes(text)
    with pytest.raises(FileError) as caught:
        load_json(tmp_path / "f.json", limit=150_000)
    assert str(caught.value).startswith(f"{tmp_path / 'f.json'}: ") and says in str(caught.value)
    assert "adapter" not in str(caught.value)


def test_a_number_that_is_not_finite_is_never_written() -> None:
    with pytest.raises(FileError, match="f: holds a number that is not finite"):
        dump_json({"a": float("nan")}, "f")
