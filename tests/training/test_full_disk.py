"""A disk that fills up while a checkpoint is written: one line that says so, no older checkpoint lost, and the run goes on."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import tiny_runs
from lorag.pipeline.errors import TrainingError
from lorag.training.checkpoints import newest_complete
from lorag.training.progress import LOSS_FILE, Progress

STEPS = 6
STEP = {"max_steps": STEPS, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_runs.save_decoder(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    tiny_runs.run_sft(model, folder, **STEP)
    return folder


def curve(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / LOSS_FILE).read_text().splitlines()]


def assert_goes_on(model: Path, folder: Path, whole: Path) -> None:
    tiny_runs.run_sft(model, folder, **STEP)
    assert curve(folder) == curve(whole)
    name = "adapter/adapter_model.safetensors"
    assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    "place",
    [
        "transformers.Trainer._save",
        "transformers.Trainer._save_optimizer_and_scheduler",
        "transformers.Trainer._save_rng_state",
        "transformers.trainer_callback.TrainerState.save_to_json",
        "lorag.training.checkpoints.sync_tree",
        "lorag.training.checkpoints.write_file",
    ],
)
def test_wherever_a_save_meets_the_full_disk(
    place: str, model: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(progress: Progress) -> None:
        if progress.step == 4:
            monkeypatch.setattr(place, full)

    with pytest.raises(TrainingError) as caught:
        tiny_runs.run_sft(model, tmp_path, fill, **STEP)
    assert str(caught.value) == (
        f"{tmp_path}: a checkpoint could not be written ([Errno 28] No space left on device); "
        "checkpoint-2 is complete: make room and resume"
    )
    monkeypatch.undo()
    assert_goes_on(model, tmp_path, whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 2 MiB, in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here: that takes the right to mount")
    try:
        yield disk
    finally:  # lazily: torch's half-written file is held by the error until that is collected
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.9])
def test_a_disk_with_room_for_a_part_of_a_checkpoint(share: float, model: Path, whole: Path, small_disk: Path) -> None:
    run, filler = small_disk / "run", small_disk / "filler"

    def fill(progress: Progress) -> None:
        if progress.step == 4:
            size = sum(path.stat().st_blocks * 512 for path in (run / "checkpoint-2").rglob("*"))
            free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
            filler.write_bytes(bytes(max(0, free - int(share * size))))

    with pytest.raises(TrainingError, match=r"could not be written \(.+\); checkpoint-2 is complete: make room and resume"):
        tiny_runs.run_sft(model, run, fill, **STEP)
    assert newest_complete(run) == run / "checkpoint-2"
    filler.unlink()
    assert_goes_on(model, run, whole)


def test_a_disk_without_room_is_refused_before_the_first_step(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=40_000))
    steps: list[int] = []
    with pytest.raises(TrainingError, match=r"need about \d+ MiB, and 0 MiB are free; make room, or lower the rank"):
        tiny_runs.run_sft(model, tmp_path, on_progress=lambda at: steps.append(at.step), **STEP)
    assert not steps and newest_complete(tmp_path) is None
