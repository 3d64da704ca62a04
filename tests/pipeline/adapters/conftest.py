"""Adapter folders without any model library: the weights are written by safetensors' numpy half."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lorag.pipeline.adapters.canaries import Canary, canaries_json
from lorag.pipeline.adapters.card import AdapterCard, card_json
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.records import Message, Role

BASE = Base("tiny", "nowhere", "0123456789abcdef")
SETTINGS = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "/some/cache/tiny",
    "auto_mapping": None,
    "r": 2,
    "lora_alpha": 4,
    "lora_dropout": 0.0,
    "bias": "none",
    "target_modules": ["q_proj"],
    "rank_pattern": {},
    "alpha_pattern": {},
    "init_lora_weights": True,
}


@pytest.fixture(scope="session")
def save_plain() -> Callable[[Path, int], Path]:
    """`save_plain(folder, seed)` → the new `folder` with settings, weights of two layers (rank 2, 6 in, 4 out) and one canary."""

    def save(folder: Path, seed: int) -> Path:
        folder.mkdir()
        rng = np.random.default_rng(seed)
        weights = {}
        for layer in range(2):
            path = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
            weights[f"{path}.lora_A.weight"] = rng.normal(size=(2, 6)).astype(np.float32)
            weights[f"{path}.lora_B.weight"] = rng.normal(size=(4, 2)).astype(np.float32)
        save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(SETTINGS))
        (folder / "canaries.json").write_text(canaries_json([Canary((Message("user", "Who?"),), "The porter.", -0.5, -3.0)]))
        return folder

    return save


@pytest.fixture
def plain_adapter(tmp_path: Path, save_plain: Callable[[Path, int], Path]) -> Callable[[int], Path]:
    """`plain_adapter(seed)` → a folder as `save_plain` makes it."""
    return lambda seed: save_plain(tmp_path / f"plain-{seed}", seed)


@pytest.fixture
def plain_card(tiny_card: Callable[[Path, Base, Role], AdapterCard]) -> Callable[[Path], AdapterCard]:
    """`plain_card(folder)` → the rewriter card for it; also written into the folder, as a training run would."""

    def make(folder: Path) -> AdapterCard:
        card = tiny_card(folder, BASE, Role.REWRITER)
        (folder / "card.json").write_text(card_json(card))
        return card

    return make
