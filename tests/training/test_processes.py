"""Real runs of two processes on a CPU (gloo) against one process with the same recipe: the same losses, one set of files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import lorag.training.contrastive
from benchmarks import tiny_runs
from lorag.pipeline.errors import TrainingError
from lorag.training import processes as together
from lorag.training.checkpoints import newest_complete
from lorag.training.early_stopping import StopEarly
from lorag.training.progress import LOSS_FILE, Progress
from lorag.training.recipe_parts import Stopping

EQUAL = 1e-5
"""Relative: what sums in another order may differ by."""

ROWS = len(tiny_runs.NAMES)
Run = Callable[..., None]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_runs.save_decoder(tmp_path_factory.mktemp("decoder") / "model")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_runs.save_encoder(tmp_path_factory.mktemp("encoder") / "model", dropout=0.0)


def _one_of(run: Run, model: str, folder: str, place: Mapping[str, str], die_at: int, changes: Mapping[str, Any]) -> None:
    """One process of a run; it writes what it was told of to a file of its own."""
    os.environ |= place
    # As on a processor without bfloat16, where it would round by what stands beside a row in its batch.
    lorag.training.contrastive.has_bf16 = lambda device: False
    told = Path(folder).parent / f"{Path(folder).name}.told-{place.get('RANK', '0')}"

    def on_progress(progress: Progress) -> None:
        with told.open("a") as file:
            file.write(f"{progress.step}\n")
        if progress.step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    run(Path(model), Path(folder), on_progress, **changes)


def train(forks: Any, run: Run, model: Path, folder: Path, processes: int, die_at: int = 0, **changes: Any) -> list[int | None]:
    """Let so many processes do one run, and give their exit codes. Where one dies the others are ended, as a launcher does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    places = [
        {"WORLD_SIZE": str(processes), "RANK": str(n), "LOCAL_RANK": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for n in range(processes)
    ]
    children = [
        forks.Process(target=_one_of, args=(run, str(model), str(folder), place if processes > 1 else {}, die_at, changes))
        for place in places
    ]
    for child in children:
        child.start()
    children[0].join(300)
    for child in children:
        child.join(60 if children[0].exitcode == 0 else 0)
        child.kill()
        child.join()
    return [child.exitcode for child in children]


def curve(folder: Path) -> dict[int, tuple[float, float]]:
    """Step → loss and gradient norm."""
    entries = [json.loads(line) for line in (folder / LOSS_FILE).read_text().splitlines()]
    return {entry["step"]: (entry["loss"], entry["grad_norm"]) for entry in entries}


def assert_equal(folder: Path, other: Path, *, learns: bool = True) -> None:
    """The same curve, which falls if so few steps teach anything, and in each step a gradient."""
    one, two = curve(folder), curve(other)
    assert list(one) == list(two) and len(one) == tiny_runs.STEPS
    assert [two[step] for step in one] == [pytest.approx(one[step], rel=EQUAL) for step in one]
    assert all(norm > 0 for _, norm in one.values())
    first, last = (sum(one[step][0] for step in steps) for steps in (list(one)[:5], list(one)[-5:]))  # a batch may be harder
    assert first > 1.01 * last or not learns


@pytest.mark.parametrize(
    ("run", "changes"),
    [
        (tiny_runs.run_sft, {"batch_size": 4}),  # 14 rows: the last step of an epoch has two, one each
        (tiny_runs.run_sft, {"batch_size": 1, "accumulate": 2, "checkpoint_every": 7}),
        (tiny_runs.run_packed, {"batch_size": 1, "accumulate": 2}),  # an odd sequence is left: one process has nothing to read
    ],
)
def test_two_processes_do_the_steps_of_one(forks: Any, run: Run, changes: dict[str, Any], decoder: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        codes = train(forks, run, decoder, tmp_path / str(processes), processes, dropout=0.0, **changes)
        assert codes == [0] * processes
    assert_equal(tmp_path / "1", tmp_path / "2")


@pytest.mark.parametrize("query_side_only", [False, True])
def test_queries_meet_the_passages_of_all_processes(forks: Any, query_side_only: bool, encoder: Path, tmp_path: Path) -> None:
    """InfoNCE of a batch is more than the mean of its halves: each query's negatives are those of the whole batch."""
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        codes = train(forks, tiny_runs.run_contrastive, encoder, folder, processes, dropout=0.0, query_side_only=query_side_only)
        assert codes == [0] * processes
    assert_equal(tmp_path / "1", tmp_path / "2", learns=not query_side_only)


def test_only_the_first_process_tells_and_writes_and_the_run_resumes(forks: Any, decoder: Path, tmp_path: Path) -> None:
    """Killed in the fourth epoch and resumed, once by two processes and once by one."""
    train(forks, tiny_runs.run_sft, decoder, tmp_path / "whole", 1, dropout=0.0)
    codes = train(forks, tiny_runs.run_sft, decoder, tmp_path / "two", 2, die_at=15, dropout=0.0)
    assert codes[0] == -signal.SIGKILL and codes[1] != 0  # the other is killed too, or has seen that the first is gone
    newest = newest_complete(tmp_path / "two")
    assert newest is not None and newest.name == "checkpoint-14"
    assert {"rng_state_0.pth", "rng_state_1.pth"} < {path.name for path in newest.iterdir()}
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    for name, processes in (("two", 2), ("one", 1)):
        assert train(forks, tiny_runs.run_sft, decoder, tmp_path / name, processes, dropout=0.0) == [0] * processes
        assert_equal(tmp_path / "whole", tmp_path / name)
        assert sorted(path.name for path in (tmp_path / name).glob("checkpoint-*")) == ["checkpoint-18", "checkpoint-20"]
    told = (tmp_path / "two.told-0").read_text().split()
    assert told == [str(step) for step in (*range(1, 16), *range(15, 21))]
    assert not (tmp_path / "two.told-1").exists()


def measure_apart(model: Path, folder: Path, on_progress: Callable[[Progress], None]) -> None:
    """A dev figure that is another in each process, as rounding may make it; each writes down what it holds."""
    together.join()
    state = SimpleNamespace(global_step=3, max_steps=9, epoch=1.0, log_history=[])
    watcher = StopEarly(lambda: {"F1": 0.5 + together.rank()}, "F1", Stopping(every=3), folder)
    watcher.on_step_end(None, state, SimpleNamespace())
    Path(f"{folder}.{together.rank()}").write_text(json.dumps(state.log_history))
    together.leave()


def test_all_go_by_the_dev_figures_of_the_first(forks: Any, tmp_path: Path) -> None:
    assert train(forks, measure_apart, tmp_path, tmp_path / "dev", 2) == [0, 0]
    first, second = (json.loads((tmp_path / f"dev.{rank}").read_text()) for rank in (0, 1))
    assert first == second == [{"dev F1": 0.5, "epoch": 1.0, "step": 3}]


def test_what_cannot_be_shared_is_refused(forks: Any, decoder: Path, tmp_path: Path) -> None:
    codes = train(forks, tiny_runs.run_sft, decoder, tmp_path / "odd", 2, batch_size=3)
    assert 0 not in codes and not (tmp_path / "odd" / LOSS_FILE).exists()


@pytest.mark.parametrize("chosen", ["auto", "cpu", "cuda", "cuda:0", "mps"])
def test_one_process_trains_where_the_settings_say(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert together.device(chosen) == chosen


def test_the_device_of_the_settings_among_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [together.device(chosen) for chosen in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    with pytest.raises(TrainingError, match="device cuda:0: .* set the device to cuda .* and CUDA_VISIBLE_DEVICES=0"):
        together.device("cuda:0")


def test_another_gpu_than_the_first_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers would move the batches to the first one, whatever the weights lie on."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(TrainingError, match="device cuda:3: training takes the first GPU .* CUDA_VISIBLE_DEVICES=3") as caught:
        together.device("cuda:3")
    assert "\n" not in str(caught.value)
