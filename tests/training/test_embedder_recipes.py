"""The embedder's bundled recipes: each loads, and what it asks for arrives in the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.errors import ConfigError
from lorag.pipeline.records import Role
from lorag.training.early_stopping import Stopping
from lorag.training.recipe import bundled_names, load_recipe

NAMES = ("query-side", "qwen3", "qwen3-query-side")


def test_what_is_bundled() -> None:
    assert bundled_names(Role.EMBEDDER) == NAMES


@pytest.mark.parametrize("name", (None, *NAMES))
def test_every_recipe_stops_by_the_rank_of_the_right_passage(name: str | None) -> None:
    settings = load_recipe(Role.EMBEDDER, name).contrastive("m")
    assert settings.stopping is not None and settings.stopping.metric in ("", "nDCG@10")
    assert settings.batch_size >= 32  # below, in-batch negatives teach little
    assert settings.query_side_only is bool(name and name.endswith("query-side"))


def test_the_recipe_for_a_gpu_asks_for_large_batches_in_little_memory() -> None:
    settings = load_recipe(Role.EMBEDDER, "qwen3").contrastive("m")
    assert (settings.batch_size, settings.micro_batch, settings.gradient_checkpointing) == (256, 16, True)
    assert settings.instruction.startswith("Instruct: ") and settings.instruction.endswith("\nQuery:")
    assert settings.stopping == Stopping(every=25, patience=3, items=200, metric="nDCG@10")


def test_lora_options_of_the_encoder(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("role: embedder\nlora: {rslora: true, dora: true}\noptimiser: {gradient_checkpointing: true}\n")
    settings = load_recipe(Role.EMBEDDER, path).contrastive("m")
    assert (settings.rslora, settings.dora, settings.gradient_checkpointing) == (True, True, True)
    path.write_text("role: embedder\nlora: {init: pissa}\n")
    with pytest.raises(ConfigError, match="init and activated are not of the embedder"):
        load_recipe(Role.EMBEDDER, path)
