"""Early stopping on a metric of the role: the adapter answers a few dev items every `every` steps, and the best one is kept.

Measurements are stored in the trainer's log history, which each checkpoint holds. So a resumed run knows all earlier ones and
chooses the same best checkpoint. Knows no metric and no model: a callable measures. Loads no model library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lorag.pipeline.engine.protocol import Engine
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.records import Role
from lorag.training import processes
from lorag.training.progress import TrainerEvents
from lorag.training.recipe_parts import Stopping

PREFIX = "dev "
"""Prefix of the names of dev figures in a log history."""

FAILED = "failed"
"""The figure that counts dev items without a value; absent means none."""


class DevSet(Protocol):
    """Dev items of one role."""

    @property
    def metric(self) -> str:
        """The name of the figure that decides; higher is better."""
        ...

    def measure(self, engine: Engine, adapter: str) -> dict[str, float]:
        """Figures by name, `metric` among them. The same engine and adapter give the same figures."""
        ...


@dataclass(frozen=True, slots=True)
class Best:
    """The best figures so far, their step, and the number of measurements since."""

    step: int
    figures: Mapping[str, float]
    since: int

    @property
    def named(self) -> dict[str, float]:
        """The figures for reports and the card, with the step as one of them."""
        return {**self.figures, "best step": float(self.step)}


def metric_of(role: Role, metrics: Sequence[str], name: str) -> str:
    """The metric that decides: `name`, or the first of the role's `metrics`. Raises TrainingError for any other name."""
    if name and name not in metrics:
        raise TrainingError(f"dev.metric {name!r}: the {role.value} is stopped by one of {', '.join(metrics)}")
    return name or metrics[0]


def require_dev_rows(rows: Sequence[Any]) -> None:
    """Raises TrainingError if there is no dev row."""
    if not rows:
        raise TrainingError("no dev row to stop by: add rows to the dev split, or take `dev` out of the recipe")


def best_of(log_history: Sequence[Mapping[str, Any]], metric: str) -> Best | None:
    """The best entry by `metric`, the first of equal ones; None if nothing was measured.

    Only entries with the fewest failed items are compared, since figures of the others are over fewer items.
    """
    measured = [entry for entry in log_history if PREFIX + metric in entry]
    if not measured:
        return None
    failed = [entry.get(PREFIX + FAILED, 0.0) for entry in measured]
    whole = [n for n, count in enumerate(failed) if count == min(failed)]
    place = max(whole, key=lambda n: (measured[n][PREFIX + metric], -n))
    entry = measured[place]
    figures = {key.removeprefix(PREFIX): float(value) for key, value in entry.items() if key.startswith(PREFIX)}
    return Best(int(entry["step"]), figures, len(measured) - 1 - place)


class StopEarly(TrainerEvents):
    """Trainer callback: measures at intervals, and ends the run after `patience` measurements without a better figure.

    It has a checkpoint written at each measured step and protects the best one from pruning. Add it before `CommitCheckpoints`.
    `measure` returns higher-is-better figures by name, with `metric` among them; `on_figures` gets the step and the figures.
    """

    def __init__(
        self,
        measure: Callable[[], Mapping[str, float]],
        metric: str,
        stopping: Stopping,
        run_folder: Path,
        on_figures: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> None:
        self._measure = measure
        self._metric = metric
        self._stopping = stopping
        self._run_folder = run_folder
        self._on_figures = on_figures

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._protect_best(state) >= self._stopping.patience:
            state.max_steps = state.global_step  # the loaded checkpoint is that of a run that had stopped

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._stopping.every and state.global_step < state.max_steps:
            return
        measured = dict(self._measure())
        figures = processes.run_on_first(lambda: measured)  # all must stop at the same step
        if not math.isfinite(figures[self._metric]):
            raise TrainingError(f"the dev figure {self._metric} is {figures[self._metric]} at step {state.global_step}")
        named = {PREFIX + name: value for name, value in figures.items()}
        state.log_history.append({**named, "epoch": state.epoch, "step": state.global_step})
        if self._on_figures is not None:
            self._on_figures(state.global_step, named)
        control.should_save = True
        if self._protect_best(state) >= self._stopping.patience:
            control.should_training_stop = True

    def _protect_best(self, state: Any) -> int:
        """Mark the best checkpoint in the trainer's state. Returns the number of measurements since."""
        best = best_of(state.log_history, self._metric)
        if best is None:
            return 0
        state.best_global_step, state.best_metric = best.step, best.figures[self._metric]
        state.best_model_checkpoint = str(self._run_folder / f"checkpoint-{best.step}")
        return best.since
