"""Writing whole or not at all: full disks, kills between two steps, leftovers of dead writers beside living ones."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import FileError
from lorag.pipeline.storage import atomic

ASIDE = ".lorag-aside-"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(file: Any, data: bytes) -> None:
        file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "_write", write)


def test_a_file_is_written_and_replaced_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    atomic.write_file(path, "é")
    assert path.read_bytes() == b"\xc3\xa9"
    atomic.write_file(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert os.listdir(path.parent) == ["x.txt"]


def test_a_file_is_as_readable_as_its_neighbours_or_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "neighbour").touch()
    atomic.write_file(tmp_path / "open", "x")
    atomic.write_file(tmp_path / "private", "x", mode=atomic.OWNER_ONLY)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"neighbour": modes["neighbour"], "open": modes["neighbour"], "private": 0o600}


def test_a_full_disk_leaves_the_old_file_and_nothing_aside(tmp_path: Path, full_disk: None) -> None:
    (tmp_path / "x.txt").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        atomic.write_file(tmp_path / "x.txt", "new words")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.txt", "old")]


def test_a_new_file_is_never_written_over_another(tmp_path: Path) -> None:
    atomic.write_new(tmp_path / "x", "first")
    with pytest.raises(FileExistsError):
        atomic.write_new(tmp_path / "x", "second")
    assert (tmp_path / "x").read_text() == "first"


def test_a_copy_takes_plain_files_of_the_size_allowed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    atomic.copy_file(tmp_path / "x", tmp_path / "y", 5)
    assert (tmp_path / "y").read_bytes() == b"12345"
    (tmp_path / "link").symlink_to("x")
    for name, limit, says in [("x", 4, "x: 5 bytes, more than the 4 that are allowed"), ("link", 5, "link: is a link")]:
        with pytest.raises(FileError, match=says):
            atomic.copy_file(tmp_path / name, tmp_path / "z", limit)
    assert not (tmp_path / "z").exists()


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "made"
    with atomic.new_folder(target) as aside:
        (aside / "inner").mkdir()
        (aside / "inner" / "x").write_text("x")
        assert aside.parent == target.parent and not target.exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "deep",
        "deep/made",
        "deep/made/inner",
        "deep/made/inner/x",
    ]


def test_a_folder_that_fails_on_the_way_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic.new_folder(tmp_path / "made") as aside:
        (aside / "x").write_text("x")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_folder_never_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").touch()
    with pytest.raises(OSError), atomic.new_folder(tmp_path / "made") as aside:
        (aside / "x").write_text("x")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["made", "made/mine"]


def test_leftovers_of_the_dead_are_cleared_and_those_of_the_living_kept(tmp_path: Path) -> None:
    (tmp_path / f"{ASIDE}dead" / "inner").mkdir(parents=True)
    (tmp_path / ".aside-of-another-program").mkdir()
    with atomic.aside_folder(tmp_path) as living:
        (living / "x").write_text("x")
        with atomic.aside_folder(tmp_path) as second:
            assert {path.name for path in tmp_path.iterdir()} == {living.name, second.name, ".aside-of-another-program"}
    assert os.listdir(tmp_path) == [".aside-of-another-program"]


def test_files_left_aside_are_cleared_and_folders_kept(tmp_path: Path) -> None:
    (tmp_path / f"{ASIDE}dead").touch()
    (tmp_path / f"{ASIDE}folder").mkdir()
    (tmp_path / "x").touch()
    atomic.clear_aside_files(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [f"{ASIDE}folder", "x"]


# Dies, as by SIGKILL, right before the n-th call that changes the disk; n = 1, 2, … until nothing is left to be cut short.
STEPWISE = """
import os, sys
from pathlib import Path
from lorag.pipeline.storage.atomic import new_folder, write_file
from tests.stepwise import run_stepwise

folder = Path(sys.argv[1])

def work():
    write_file(folder / "x.txt", "new")
    with new_folder(folder / "made") as aside:
        (aside / "one").write_text("1")
        (aside / "two").write_text("2")

def show(status):
    made = sorted(os.listdir(folder / "made")) if (folder / "made").is_dir() else None
    print(status, (folder / "x.txt").read_text(), made, flush=True)
    return made is not None

run_stepwise(work, show)
"""


def test_killed_before_each_step(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("old")
    done = subprocess.run([sys.executable, "-c", STEPWISE, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT)
    lines = done.stdout.splitlines()
    assert len(lines) > 10
    assert {line for line in lines[:-1]} == {"9 old None", "9 new None"}
    assert lines == sorted(lines[:-1], reverse=True) + [lines[-1]]  # once it is new it stays new
    assert lines[-1] == "9 new ['one', 'two']"  # renamed, and killed before its parent was synced
    with atomic.aside_folder(tmp_path):
        assert len(list(tmp_path.glob(f"{ASIDE}*/"))) == 1
