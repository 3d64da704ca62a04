"""Parts of every training: the arguments of a Hugging Face trainer from a recipe, and the recipe's part of a run's identity.

Knows no model and loads no model library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorag.training.recipe import Recipe
from lorag.training.recipe_parts import Optimisation


def trainer_arguments(optimiser: Optimisation, run_folder: Path, device: str) -> dict[str, Any]:
    """Arguments of any Hugging Face trainer that `training.checkpoints.fit` runs; the caller adds learning rate and batch."""
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
    """The part of a recipe that a run's digest contains; `dev` only if the run is `stopped` by it.

    The checkpoint interval and the trackers may change on resume. `data` counts through the rows that it selected.
    """
    made_of = recipe.model_dump(mode="json", exclude={"report_to": True, "data": True, "optimiser": {"checkpoint_every"}})
    if not stopped:
        del made_of["dev"]
    return made_of
