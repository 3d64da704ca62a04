"""Sends a run's named figures to TensorBoard and other experiment trackers, and nothing else.

Problem: the trainer's own callbacks send all its arguments and the model's configuration, which contain local paths. Some
trackers also collect facts about the machine. Choice: accelerate's trackers, which send only what they get. They get settings
that are numbers, flags or names of a fixed choice, and the figures of `FIGURES` and of the dev set. A tracker is supported only
if its own collecting is known and can be switched off. Loads no tracker until a run begins.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import TrainingError
from lorag.training.early_stopping import PREFIX
from lorag.training.progress import TrainerEvents
from lorag.training.recipe import Recipe
from lorag.training.recipe_parts import Part

PROJECT = "lorag"
FIGURES = ("loss", "learning_rate", "grad_norm", "epoch")
"""Figures sent for each logged step, if the trainer logs them."""

_MODULE_NAME = re.compile(r"[A-Za-z0-9_.-]+")

Fact = int | float | bool | str


def _tensorboard(run_folder: Path) -> Any:
    from accelerate.tracking import TensorBoardTracker

    return TensorBoardTracker("tensorboard", str(run_folder))


def _wandb(run_folder: Path) -> Any:
    from accelerate.tracking import WandBTracker

    wandb = importlib.import_module("wandb")  # by name: what it needs is the user's to install
    settings = wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        save_code=False,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    return WandBTracker(PROJECT, settings=settings, dir=str(run_folder))


def _mlflow(run_folder: Path) -> Any:
    from accelerate.tracking import MLflowTracker

    # Without these it would send the user's name, the program's path and the commit of the folder it runs in.
    tags = {"mlflow.user": PROJECT, "mlflow.source.name": PROJECT, "mlflow.source.type": "LOCAL", "mlflow.source.git.commit": ""}
    return MLflowTracker(PROJECT, tags=tags, run_name=PROJECT)


BACK_ENDS: Mapping[str, Callable[[Path], Any]] = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


def require_back_ends(names: Sequence[str]) -> None:
    """Raises TrainingError, before the first step, for a tracker that is not supported or not installed."""
    for name in names:
        if name not in BACK_ENDS:
            raise TrainingError(f"report_to {name!r}: LoRAG reports to {', '.join(BACK_ENDS)}; others gather facts of their own")
        if importlib.util.find_spec(name) is None:
            raise TrainingError(f"report_to {name!r}: it is not installed; pip install {name}, or take it out of the recipe")


def recipe_facts(part: Part) -> dict[str, Fact]:
    """The values of a recipe that are numbers, flags or names of a fixed choice, and the target modules' names, by key.

    Other text may be a path or free text, and is left out.
    """
    facts: dict[str, Fact] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Part):
            facts |= {f"{name}.{key}": fact for key, fact in recipe_facts(value).items()}
        elif isinstance(value, StrEnum):
            facts[name] = value.value
        elif isinstance(value, bool | int | float):
            facts[name] = value
        elif name == "targets":
            names = (value,) if isinstance(value, str) else value
            facts[name] = " ".join(module for module in names if _MODULE_NAME.fullmatch(module))
    return facts


class Reporter(TrainerEvents):
    """Trainer callback: opens the trackers `names` when a run begins, sends its figures, and closes them at its end."""

    def __init__(self, names: Sequence[str], run_folder: Path, facts: Mapping[str, Fact]) -> None:
        self._names = tuple(names)
        self._run_folder = run_folder
        self._facts = dict(facts)
        self._trackers: list[Any] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero or self._trackers:
            return
        # A tracker takes its own settings (a server's address, a key) from the environment; none of that is a fact of the run.
        os.environ.setdefault("WANDB_SILENT", "true")
        for name in self._names:
            tracker = BACK_ENDS[name](self._run_folder)
            tracker.start()
            tracker.store_init_configuration(dict(self._facts))
            self._trackers.append(tracker)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **kwargs: Any) -> None:
        if "loss" in logs:
            self.send(int(state.global_step), {name: float(logs[name]) for name in FIGURES if name in logs})

    def send(self, step: int, figures: Mapping[str, float]) -> None:
        """Send the figures of a step that are in `FIGURES` or of the dev set."""
        sent = {name: value for name, value in figures.items() if name in FIGURES or name.startswith(PREFIX)}
        for tracker in self._trackers:
            tracker.log(dict(sent), step=step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the trackers, also after an interrupt."""
        while self._trackers:
            self._trackers.pop().finish()


@contextlib.contextmanager
def reporting(trainer: Any, run_folder: Path, recipe: Recipe) -> Iterator[Reporter | None]:
    """Context that sends the trainer's run to the recipe's trackers and closes them in any case. Yields None without trackers."""
    if not recipe.report_to:
        yield None
        return
    reporter = Reporter(recipe.report_to, run_folder, recipe_facts(recipe))
    trainer.add_callback(reporter)
    with contextlib.closing(reporter):
        yield reporter
