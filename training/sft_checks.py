"""Checks which settings of a supervised run work together, and the digest that identifies a run. Loads no model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lorag.pipeline.adapters.inspection import WEIGHTS_FILE
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.storage.digests import file_digest
from lorag.training.early_stopping import DevSet
from lorag.training.lora_options import require_possible
from lorag.training.recipe import GenerationRecipe
from lorag.training.recipe_parts import Init
from lorag.training.reporting import require_back_ends
from lorag.training.trainer_arguments import counted


def require_trainable(recipe: GenerationRecipe, dev: DevSet | None, parent: Path | None, *, full: bool) -> None:
    """Raises TrainingError, before anything is loaded, for settings that do not work together."""
    lora = recipe.lora
    if full and recipe.precision in (Precision.NF4, Precision.INT8):
        raise TrainingError(f"weights in {recipe.precision.value} cannot be trained themselves: set precision to bf16 or fp32")
    if full and (lora.rslora or lora.dora or lora.activated or lora.init is not Init.DEFAULT):
        raise TrainingError("full trains the base itself and has no LoRA options; leave rslora, dora, init and activated out")
    if recipe.dev is not None and (full or dev is None):
        raise TrainingError("early stopping needs dev items and an adapter; give both, or take `dev` out of the recipe")
    if parent is not None and lora.init is not Init.DEFAULT:
        raise TrainingError(f"init {lora.init.value} and a parent adapter: a run begins at one of them; leave one out")
    require_possible(
        lora,
        precision=recipe.precision,
        pack_tokens=recipe.optimiser.pack_tokens,
        weight_decay=recipe.optimiser.weight_decay,
    )
    require_back_ends(recipe.report_to)


def run_digest(
    recipe: GenerationRecipe,
    rows: list[dict[str, list[int]]],
    base: Base,
    parent: Path | None = None,
    dev: DevSet | None = None,
    *,
    full: bool = False,
) -> str:
    """The run's identity. Only the checkpoint interval and the trackers may change on resume."""
    further = [] if parent is None else [file_digest(parent / WEIGHTS_FILE)]
    stopped = recipe.dev is not None
    if stopped:
        further.append(hashlib.sha256(repr(dev).encode()).hexdigest())
    made_of = [counted(recipe, stopped=stopped), full, rows, base.digest, *further]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
