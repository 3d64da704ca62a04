"""The embedder's bundled recipes: each loads, and what it asks for arrives in the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.errors import ConfigError
from lorag.pipeline.records import Role
from lorag.training.recipe import bundled_names, load_recipe
from lorag.training.recipe_parts import Stopping

NAMES = ("query-side", "qwen3", "qwen3-query-side")


def test_what_is_bundled() -> None:
    assert bundled_names(Role.EMBEDDER) == NAMES


@pytest.mark.parametrize("name", (None, *NAMES))
def test_every_recipe_stops_by_the_rank_of_the_right_passage(name: str | None) -> None:
    recipe = load_recipe(Role.EMBEDDER, name)
    assert recipe.dev is not None and recipe.dev.metric in ("", "nDCG@10")
    assert recipe.optimiser.batch_size >= 32  # below, in-batch negatives teach little
    assert recipe.contrast.query_side_only is bool(name and name.endswith("query-side"))


def test_the_recipe_for_a_gpu_asks_for_large_batches_in_little_memory() -> None:
    recipe = load_recipe(Role.EMBEDDER, "qwen3")
    optimiser, contrast = recipe.optimiser, recipe.contrast
    assert (optimiser.batch_size, contrast.micro_batch, optimiser.gradient_checkpointing) == (256, 16, True)
    assert contrast.instruction.startswith("Instruct: ") and contrast.instruction.endswith("\nQuery:")
    assert recipe.dev == Stopping(every=25, patience=3, items=200, metric="nDCG@10")


def test_lora_options_of_the_encoder(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("role: embedder\nlora: {rslora: true, dora: true}\noptimiser: {gradient_checkpointing: true}\n")
    recipe = load_recipe(Role.EMBEDDER, path)
    assert (recipe.lora.rslora, recipe.lora.dora, recipe.optimiser.gradient_checkpointing) == (True, True, True)
    path.write_text("role: embedder\nlora: {init: pissa}\n")
    with pytest.raises(ConfigError, match="lora.init: belongs to the rewriter, the synthesizer, the judge and the questioner"):
        load_recipe(Role.EMBEDDER, path)
