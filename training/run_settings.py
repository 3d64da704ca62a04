"""What the settings of all trainings have in common: what a trainer is told of them, and what of them makes a run another one.

Knows no model and loads no model library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

UNCOUNTED = ("checkpoint_every", "report_to")
"""Settings that may change on the way: how often a run is saved and where it is reported."""


class RunSettings(Protocol):
    """Those settings that every training has."""

    @property
    def warmup_share(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def epochs(self) -> float: ...

    @property
    def max_steps(self) -> int: ...

    @property
    def checkpoint_every(self) -> int: ...

    @property
    def seed(self) -> int: ...


def trainer_arguments(settings: RunSettings, run_folder: Path, device: str) -> dict[str, Any]:
    """Arguments of any Hugging Face trainer that `training.checkpoints.fit` runs; learning rate and batch are the caller's."""
    return {
        "output_dir": str(run_folder),
        "lr_scheduler_type": "linear",
        "warmup_steps": settings.warmup_share,
        "weight_decay": settings.weight_decay,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "save_strategy": "steps",
        "save_steps": settings.checkpoint_every,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": False,
    }


class Record(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def counted(settings: Record, later: Sequence[str]) -> dict[str, Any]:
    """The settings that a run's digest counts, by name.

    Those named in `later` count where they are not at their defaults, so that runs begun before there was a choice go on.
    """
    made_of = asdict(settings)
    for choice in fields(settings):
        untouched = choice.name in later and getattr(settings, choice.name) == choice.default
        if untouched or choice.name in UNCOUNTED:
            del made_of[choice.name]
    return made_of
