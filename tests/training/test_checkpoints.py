"""Committing, finding and pruning of checkpoints, and real runs killed at any moment that resume to the same loss curve."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lorag.pipeline.errors import TrainingError
from lorag.training.checkpoints import (
    COMPLETE,
    MANIFEST,
    CommitCheckpoints,
    commit,
    discard,
    find_newest,
    fit,
    newest_complete,
    prune,
    writing_failures,
)
from lorag.training.progress import LOSS_FILE, Progress, ProgressCallback

STEPS, SAVE_EVERY = 12, 2


def _written(run_folder: Path, step: int, *, committed: bool = True, run: str = "") -> Path:
    folder = run_folder / f"checkpoint-{step}"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"weights %d" % step)
    (folder / "inner" / "state.json").write_text("{}")
    if committed:
        commit(folder, run=run)
    return folder


def _state(step: int, total: int = 10, history: list[dict[str, Any]] | None = None) -> Any:
    return SimpleNamespace(
        global_step=step, max_steps=total, is_world_process_zero=True, log_history=history or [], best_model_checkpoint=None
    )


def _args(limit: int | None = None) -> Any:
    return SimpleNamespace(save_total_limit=limit)


def test_newest_is_by_step_number_not_by_name_or_time(tmp_path: Path) -> None:
    newest = _written(tmp_path, 100)
    _written(tmp_path, 20)
    (tmp_path / "checkpoint-999").write_text("a file")
    (tmp_path / "checkpoint-last").mkdir()
    assert newest_complete(tmp_path) == newest
    assert newest_complete(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: (f / COMPLETE).unlink(), "checkpoint-4 was not written to its end"),
        (lambda f: (f / MANIFEST).unlink(), "checkpoint-4 was not written to its end"),
        (lambda f: (f / COMPLETE).write_text(""), "checkpoint-4 has a manifest that does not match its mark"),
        (lambda f: (f / MANIFEST).write_text("{"), "checkpoint-4 has a manifest that does not match its mark"),
        (lambda f: (f / "weights.bin").write_bytes(b"weights 5"), "checkpoint-4 was changed after it was written (weights.bin)"),
        (lambda f: (f / "weights.bin").write_bytes(b"weig"), "checkpoint-4 was changed after it was written (weights.bin)"),
        (lambda f: (f / "inner" / "state.json").unlink(), "state.json"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_with_its_reason(tmp_path: Path, damage: Any, reason: str) -> None:
    whole = _written(tmp_path, 2)
    damage(_written(tmp_path, 4))
    found = find_newest(tmp_path)
    assert found.newest == whole
    assert len(found.passed_over) == 1 and reason in found.passed_over[0]


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = _written(tmp_path, 2, run="a" * 64)
    assert newest_complete(tmp_path, run="a" * 64) == folder
    assert newest_complete(tmp_path) == folder
    with pytest.raises(TrainingError, match="other settings or data"):
        newest_complete(tmp_path, run="b" * 64)


def test_prune_keeps_the_newest_committed_and_what_is_newer_or_protected(tmp_path: Path) -> None:
    for step in (2, 4, 8, 10):
        _written(tmp_path, step)
    _written(tmp_path, 6, committed=False)
    _written(tmp_path, 12, committed=False)
    prune(tmp_path, keep=2, protect=tmp_path / "checkpoint-4")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"checkpoint-{n}" for n in (10, 12, 4, 8)]


def test_prune_deletes_nothing_while_too_few_are_committed(tmp_path: Path) -> None:
    for step in (2, 4):
        _written(tmp_path, step, committed=step == 4)
    prune(tmp_path, keep=2)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-2", "checkpoint-4"}


def test_discard_leaves_other_files(tmp_path: Path) -> None:
    _written(tmp_path, 2)
    (tmp_path / LOSS_FILE).write_text("{}\n")
    (tmp_path / "notes.txt").write_text("mine")
    discard(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_begins_by_dropping_what_is_newer_and_incomplete(tmp_path: Path) -> None:
    _written(tmp_path, 4)
    _written(tmp_path, 6, committed=False)
    _written(tmp_path, 8)
    (tmp_path / "checkpoint-8" / "weights.bin").write_bytes(b"cut")
    CommitCheckpoints(tmp_path).on_train_begin(_args(), _state(4), None)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]


def test_a_fresh_run_never_writes_over_a_complete_checkpoint(tmp_path: Path) -> None:
    _written(tmp_path, 4)
    with pytest.raises(TrainingError, match="holds checkpoint-4 of an earlier run"):
        CommitCheckpoints(tmp_path).on_train_begin(_args(), _state(0), None)
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-4"


def test_the_trainers_own_rotation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="save_total_limit"):
        CommitCheckpoints(tmp_path).on_train_begin(_args(limit=1), _state(0), None)


def test_progress_counts_only_this_process_and_writes_each_loss_once(tmp_path: Path) -> None:
    ticks = iter([100.0, 106.0])
    seen: list[Progress] = []
    (tmp_path / LOSS_FILE).write_text('{"step": 3, "loss": 1.5}\n{"step": 4, "loss": 1.4}\n{"step": 5, "lo')
    callback = ProgressCallback(tmp_path, seen.append, clock=lambda: next(ticks))
    callback.on_train_begin(_args(), _state(4, history=[{"step": 4, "loss": 1.4}, {"step": 4, "eval_loss": 9.0}]), None)
    callback.on_log(_args(), _state(6), None, {"loss": 1.2, "learning_rate": 0.5})
    callback.on_log(_args(), _state(6), None, {"train_runtime": 3.0})
    assert seen == [Progress(step=6, total=10, loss=1.2, learning_rate=0.5, seconds_left=12.0)]  # 3 s a step, 4 left
    lines = [json.loads(line) for line in (tmp_path / LOSS_FILE).read_text().splitlines()]
    assert lines == [{"step": 4, "loss": 1.4}, {"step": 6, "loss": 1.2, "learning_rate": 0.5}]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, loss: float) -> None:
    callback = ProgressCallback(tmp_path)
    callback.on_train_begin(_args(), _state(0), None)
    with pytest.raises(TrainingError, match="at step 3: lower the learning rate"):
        callback.on_log(_args(), _state(3), None, {"loss": loss})


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("[enforce fail] PytorchStreamWriter failed writing file")]
)
def test_a_full_disk_names_the_checkpoint_to_go_on_from(tmp_path: Path, error: Exception) -> None:
    _written(tmp_path, 4)
    with pytest.raises(TrainingError, match="could not be written.*checkpoint-4 is complete"), writing_failures(tmp_path):
        raise error
    with pytest.raises(RuntimeError, match="shapes"), writing_failures(tmp_path):
        raise RuntimeError("shapes differ")


def _run(folder: str, fatal: str, pause: float) -> None:
    """A real run of a tiny model with dropout, in a process of its own. `fatal` names a point at which it kills itself."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

    torch.set_num_threads(1)
    torch.manual_seed(0)
    run_folder = Path(folder)

    def maybe_die(point: str, step: int) -> None:
        if fatal == f"{point}-{step}":
            os.kill(os.getpid(), signal.SIGKILL)

    class FragileTrainer(Trainer):
        def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
            maybe_die("saving", self.state.global_step)
            super()._save_optimizer_and_scheduler(output_dir)

    class Hazard(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            maybe_die("uncommitted", state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            time.sleep(pause)
            maybe_die("stepping", state.global_step)

    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=2
    )
    rows = [{"input_ids": torch.randint(0, 50, (6,)), "labels": index % 2} for index in range(20)]
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=4,
        max_steps=STEPS,
        learning_rate=1e-2,
        logging_steps=1,
        save_steps=SAVE_EVERY,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = FragileTrainer(BertForSequenceClassification(config), arguments, train_dataset=rows, callbacks=[Hazard()])
    fit(trainer, run_folder, resume=True, run="tiny")
    assert trainer.state.global_step == STEPS


def _start(forks: Any, folder: Path, fatal: str = "", pause: float = 0.0) -> Any:
    process = forks.Process(target=_run, args=(str(folder), fatal, pause))
    process.start()
    return process


def _curve(folder: Path) -> list[tuple[int, float]]:
    entries = [json.loads(line) for line in (folder / LOSS_FILE).read_text().splitlines()]
    return [(entry["step"], entry["loss"]) for entry in entries]


@pytest.fixture(scope="module")
def uninterrupted(model_elsewhere: None, forks: Any, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, float]]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = _start(forks, folder)
    process.join(120)
    assert process.exitcode == 0
    assert [path.name for path in sorted(folder.glob("checkpoint-*"))] == ["checkpoint-10", "checkpoint-12"]
    curve = _curve(folder)
    assert [step for step, _ in curve] == list(range(1, STEPS + 1))
    return curve


def test_kills_at_the_worst_points_resume_to_the_same_curve(
    forks: Any, uninterrupted: list[tuple[int, float]], tmp_path: Path
) -> None:
    """Half-way through a save, after it but before its commit, between saves, and on the last checkpoint."""
    expected = {"saving-2": None, "uncommitted-4": 2, "stepping-7": 6, "saving-8": 6, "uncommitted-12": 10}
    for fatal, newest in expected.items():
        process = _start(forks, tmp_path, fatal)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, fatal
        found = newest_complete(tmp_path)
        assert found == (tmp_path / f"checkpoint-{newest}" if newest else None), fatal
    process = _start(forks, tmp_path)
    process.join(120)
    assert process.exitcode == 0
    assert _curve(tmp_path) == uninterrupted


def test_kills_at_random_moments_resume_to_the_same_curve(
    forks: Any, uninterrupted: list[tuple[int, float]], tmp_path: Path
) -> None:
    moments = random.Random(7)
    for _ in range(4):
        process = _start(forks, tmp_path, pause=0.02)
        while process.is_alive() and not (tmp_path / LOSS_FILE).exists():
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.5))
        process.kill()
        process.join(120)
    process = _start(forks, tmp_path)
    process.join(120)
    assert process.exitcode == 0
    assert _curve(tmp_path) == uninterrupted


def test_resuming_a_finished_run_trains_no_further(forks: Any, uninterrupted: list[tuple[int, float]], tmp_path: Path) -> None:
    for _ in range(2):
        process = _start(forks, tmp_path)
        process.join(120)
        assert process.exitcode == 0
    assert _curve(tmp_path) == uninterrupted
