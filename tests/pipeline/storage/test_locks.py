"""Locks hold against other threads' and processes' files, and fall with the process that holds them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from lorag.pipeline.storage.locks import Holder, NamedLock, current_holder, locked, try_lock


def test_a_lock_is_had_once_and_again_when_its_file_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w") as first, (tmp_path / "x").open("w") as second:
        assert try_lock(first)
        assert not try_lock(second.fileno())
        first.close()
        assert try_lock(second)


def test_the_lock_of_a_folder_waits_for_the_one_before(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with locked(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path):
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


HOLDER = """
import sys, time
from lorag.pipeline.storage.locks import try_lock
file = open(sys.argv[1])
print(try_lock(file), flush=True)
time.sleep(60)
"""


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        with (tmp_path / "x").open() as mine:
            assert not try_lock(mine)
            process.kill()
            process.wait()
            assert try_lock(mine)


NAMED = """
import sys, time
from pathlib import Path
from lorag.pipeline.storage.locks import NamedLock
lock = NamedLock(Path(sys.argv[1]), "lorag serve")
print(lock.try_acquire(), flush=True)
time.sleep(60)
"""


def test_a_named_lock_says_who_holds_it_and_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    path, mine = tmp_path / "lock", NamedLock(tmp_path / "lock", "lorag ask")
    assert current_holder(path) is None
    with subprocess.Popen([sys.executable, "-c", NAMED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "None\n"
        assert mine.try_acquire() == current_holder(path) == Holder("lorag serve", process.pid)
        assert str(current_holder(path)) == f"`lorag serve` (process {process.pid})"
        assert not mine.held
        process.kill()
        process.wait()
        assert path.read_text() == f"{process.pid} lorag serve"
        assert current_holder(path) is None
    assert mine.try_acquire() is None and mine.held
    mine.release()
    mine.release()
    assert not mine.held and path.read_text() == ""


def test_a_named_lock_that_nobody_refers_to_is_free(tmp_path: Path) -> None:
    lock = NamedLock(tmp_path / "lock", "one")
    assert lock.try_acquire() is None
    del lock
    assert NamedLock(tmp_path / "lock", "two").try_acquire() is None


def test_a_lock_file_of_another_kind_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"serve \xff 12")
    assert current_holder(tmp_path / "lock") is None
    with (tmp_path / "lock").open("r+b") as file:
        assert try_lock(file)
        holder = NamedLock(tmp_path / "lock", "x").try_acquire()
    assert holder == Holder() and str(holder) == "another process"
