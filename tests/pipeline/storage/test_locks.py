"""Locks hold against other threads' and processes' files, and fall with the process that holds them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from lorag.pipeline.storage.locks import locked, try_lock


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
