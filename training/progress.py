"""Progress of a run: each logged loss goes to a callable and to `loss.jsonl`, for any Hugging Face trainer.

The curve of a resumed run continues the one in its checkpoint. Knows no model and no terminal, and loads no model library:
callbacks handle the trainer's events by method name.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import TrainingError
from lorag.pipeline.storage.atomic import write_file

LOSS_FILE = "loss.jsonl"


@dataclass(frozen=True, slots=True)
class Progress:
    """A run after `step` of `total` optimizer steps. `seconds_left` is None until this process has done a step."""

    step: int
    total: int
    loss: float
    learning_rate: float
    seconds_left: float | None


class TrainerEvents:
    """A callback that ignores every trainer event, without inheriting from transformers' class, so that none loads it."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return _ignore


class ProgressCallback(TrainerEvents):
    """Trainer callback: calls `on_progress` at each logged loss and appends it to `loss.jsonl` in the run folder.

    A line is `{"step", "loss", "learning_rate", "epoch", …}`. A resumed run starts from the curve in its checkpoint, so no
    step is repeated or lost. `clock` gives seconds.

    Raises TrainingError at a loss that is not finite, before a checkpoint of it is saved (the trainer must run with
    `logging_nan_inf_filter=False`, or it reports an average instead).
    """

    def __init__(
        self,
        run_folder: Path,
        on_progress: Callable[[Progress], None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = run_folder / LOSS_FILE
        self._on_progress = on_progress
        self._clock = clock
        self._start = (0, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start = (int(state.global_step), self._clock())
        if state.is_world_process_zero:
            write_file(self._file, "".join(map(_line, loss_entries(state.log_history))))

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **kwargs: Any) -> None:
        if "loss" not in logs or not state.is_world_process_zero:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {state.global_step}: lower the learning rate; the checkpoints before it stay"
            )
        with self._file.open("a", encoding="utf-8") as handle:
            handle.write(_line({**logs, "step": state.global_step}))
        if self._on_progress is not None:
            rate = float(logs.get("learning_rate", 0.0))
            self._on_progress(Progress(state.global_step, state.max_steps, loss, rate, self._seconds_left(state)))

    def _seconds_left(self, state: Any) -> float | None:
        step, started = self._start
        done = state.global_step - step
        return (self._clock() - started) / done * (state.max_steps - state.global_step) if done > 0 else None


def loss_entries(log_history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries of a trainer's log history with a training loss, one per logged step."""
    return [entry for entry in log_history if "loss" in entry]


def final_loss(losses: Sequence[float]) -> float:
    """The mean loss over the last tenth of the steps, at least one."""
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def _ignore(*args: Any, **kwargs: Any) -> None:
    return None


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True) + "\n"
