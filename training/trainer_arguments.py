"""What all trainings have in common: what a Hugging Face trainer is given of a recipe, and what makes a run another one.

Knows no model and loads no model library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorag.training.recipe import Recipe
from lorag.training.recipe_parts import Optimisation


def trainer_arguments(optimiser: Optimisation, run_folder: Path, device: str) -> dict[str, Any]:
    """Arguments of any Hugging Face trainer that `training.checkpoints.fit` runs; learning rate and batch are the caller's."""
    return {
        "output_dir": str(run_folder),
        "lr_scheduler_type": "linear",
        "warmup_steps": optimiser.warmup_share,
        "weight_decay": optimiser.weight_decay,
        "num_train_epochs": optimiser.epochs,
        "max_steps": optimiser.max_steps or -1,
        "seed": optimiser.seed,
        "data_seed": optimiser.seed,
        "save_strategy": "steps",
        "save_steps": optimiser.checkpoint_every,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": False,
    }


def counted(recipe: Recipe, *, stopped: bool) -> dict[str, Any]:
    """What a run's digest counts of its recipe; `dev` only if the run is `stopped` by it.

    How often a run is saved and where it is reported may change on the way; `data` is counted as the rows that it made.
    """
    made_of = recipe.model_dump(mode="json", exclude={"report_to": True, "data": True, "optimiser": {"checkpoint_every"}})
    if not stopped:
        del made_of["dev"]
    return made_of
