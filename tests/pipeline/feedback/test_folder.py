"""Feedback on disk: what is stored where, bounds, kills, full disks, several writers, damaged files."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import FeedbackError, FileError, InputError
from lorag.pipeline.feedback.folder import FeedbackFolder
from lorag.pipeline.feedback.records import Opinion, Rating
from lorag.pipeline.storage import atomic
from tests.pipeline.feedback.given import answer_id, feedback
from tests.stepwise import run_stepwise
from tests.test_structure import ROOT

FIRST, SECOND = Opinion(comment="first"), Opinion(Rating.DOWN, answer="The deputy. 🗝️", comment="second")


def files(project: Path) -> list[str]:
    return sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file() and path.name != ".lock")


def test_feedback_is_read_back_whole_and_replaced_by_later_feedback_on_the_answer(tmp_path: Path) -> None:
    folder = FeedbackFolder(tmp_path)
    assert folder.read().entries == ()
    folder.put(feedback(1, opinion=FIRST, history=("User: Hello", "Assistant: Hello")))
    folder.put(feedback(2, opinion=FIRST))
    last = feedback(1, opinion=SECOND)
    folder.put(last)
    assert folder.get("", answer_id(1)) == last
    assert {each.trace.id: each.opinion for each in folder.read().entries} == {answer_id(1): SECOND, answer_id(2): FIRST}
    assert files(tmp_path) == [f"feedback/_project/{answer_id(number)}.json" for number in (1, 2)]
    assert stat.S_IMODE((tmp_path / files(tmp_path)[0]).stat().st_mode) == 0o600


def test_each_tenant_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = FeedbackFolder(tmp_path)
    folder.put(feedback(1))
    folder.put(feedback(2, tenant="acme"))
    assert folder.counts() == {"": 1, "acme": 1}
    assert [each.trace.id for each in folder.read("acme").entries] == [answer_id(2)]
    assert folder.get("acme", answer_id(1)) is None
    assert folder.remove("acme", answer_id(1)) is False
    assert folder.remove("", answer_id(1)) is True
    assert folder.counts() == {"acme": 1}


@pytest.mark.parametrize("id_", ["", "../../x", "chatcmpl-1", f"{answer_id(1)}/..", f"{answer_id(1)}\n", answer_id(1).upper()])
def test_an_id_is_never_a_path(tmp_path: Path, id_: str) -> None:
    with pytest.raises(InputError, match="no id of an answer"):
        FeedbackFolder(tmp_path).get("", id_)


def test_a_tenants_folder_is_bounded_in_answers_and_bytes(tmp_path: Path) -> None:
    folder = FeedbackFolder(tmp_path, most=2)
    for number in (1, 2):
        folder.put(feedback(number))
    with pytest.raises(FeedbackError, match="holds 2 answers with feedback, 0 MiB, which is the most"):
        folder.put(feedback(3))
    folder.put(feedback(2, opinion=SECOND))  # what is there may still change
    folder.put(feedback(4, tenant="acme"))
    assert {tenant: len(folder.read(tenant).entries) for tenant in ("", "acme")} == {"": 2, "acme": 1}
    small = FeedbackFolder(tmp_path, most_bytes=5_000)
    with pytest.raises(FeedbackError, match="export it and move old files"):
        small.put(feedback(5, answer="x" * 5_000))


@pytest.mark.parametrize("word", [b'{"format"', b"", b"[]", b'{"format": 1}', b"\xff", "old"])
def test_a_file_that_cannot_be_read_is_named_and_left_alone(tmp_path: Path, word: bytes | str) -> None:
    folder = FeedbackFolder(tmp_path)
    folder.put(feedback(1))
    folder.put(feedback(2))
    path = tmp_path / files(tmp_path)[0]
    found = json.loads(path.read_bytes())
    path.write_bytes(word if isinstance(word, bytes) else json.dumps(found | {"format": 0}).encode())
    held = folder.read()
    assert [each.trace.id for each in held.entries] == [answer_id(2)]
    (line,) = held.problems
    assert str(path) in line
    with pytest.raises(FileError):
        folder.get("", answer_id(1))
    assert path.exists()


def test_a_file_under_another_answers_name_is_refused(tmp_path: Path) -> None:
    folder = FeedbackFolder(tmp_path)
    folder.put(feedback(1))
    path = tmp_path / files(tmp_path)[0]
    path.rename(path.with_stem(answer_id(9)))
    assert folder.read().problems == (f"{path.with_stem(answer_id(9))}: holds feedback on {answer_id(1)}",)


def test_a_full_disk_leaves_the_earlier_feedback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = FeedbackFolder(tmp_path)
    folder.put(feedback(1, opinion=FIRST))

    def write(file: Any, data: bytes) -> None:
        file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "_write", write)
    with pytest.raises(FeedbackError, match="No space left on device"):
        folder.put(feedback(1, opinion=SECOND))
    (kept,) = folder.read().entries
    assert kept.opinion == FIRST
    assert len(files(tmp_path)) == 1


def test_killed_at_any_moment_the_old_feedback_stands_or_the_new(tmp_path: Path) -> None:
    folder = FeedbackFolder(tmp_path)
    folder.put(feedback(1, opinion=FIRST))
    seen = []

    def after(status: int) -> bool:
        held = folder.read()
        assert held.problems == ()
        seen.append((status, [each.opinion for each in held.entries]))
        return False

    run_stepwise(lambda: FeedbackFolder(tmp_path).put(feedback(1, opinion=SECOND)), after)
    assert (9, [FIRST]) in seen
    assert seen[-1] == (0, [SECOND])
    assert all(held in ([FIRST], [SECOND]) for _, held in seen)
    assert len(files(tmp_path)) == 1  # what the killed writers left aside is gone


WRITER = """
import sys
from pathlib import Path
from lorag.pipeline.feedback.folder import FeedbackFolder
from lorag.pipeline.feedback.records import Opinion
from tests.pipeline.feedback.given import feedback
folder = FeedbackFolder(Path(sys.argv[1]), most=30)
stored = 0
for number in range(20):
    try:
        folder.put(feedback(int(sys.argv[2]) * 100 + number, opinion=Opinion(comment="x" * 2000)))
        stored += 1
    except Exception as error:
        assert type(error).__name__ == "FeedbackError", error
print(stored)
"""


def test_writers_of_several_processes_keep_to_the_bound_together(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(part)], env=environment, stdout=subprocess.PIPE)
        for part in range(3)
    ]
    stored = sum(int(process.communicate()[0]) for process in started)
    held = FeedbackFolder(tmp_path).read()
    assert (stored, len(held.entries), held.problems) == (30, 30, ())
