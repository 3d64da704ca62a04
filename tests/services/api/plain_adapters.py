"""Published adapter versions without a model: real folders, as small as they can be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from lorag.pipeline.adapters.canaries import Canary, canaries_json
from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.records import Message, Role
from tests.pipeline.adapters.conftest import BASE, SETTINGS

MakeCard = Callable[[Path, Base, Role], AdapterCard]


def publish(registry: Registry, folder: Path, card: MakeCard, seed: int, *, better: bool = True) -> str:
    """Publish a rewriter with weights of its own; the version. Its card says that it is better than the base, or not."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    path = "base_model.model.model.layers.0.self_attn.q_proj"
    weights = {
        f"{path}.lora_A.weight": draw.normal(size=(2, 6)).astype(np.float32),
        f"{path}.lora_B.weight": draw.normal(size=(4, 2)).astype(np.float32),
    }
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(SETTINGS))
    (folder / "canaries.json").write_text(canaries_json([Canary((Message("user", "Who?"),), "The porter.", -0.5, -3.0)]))
    made = card(folder, BASE, Role.REWRITER)
    if not better:
        made = dataclasses.replace(made, evidence=(dataclasses.replace(made.evidence[0], low=-0.1),))
    return registry.publish(Role.REWRITER, folder, made).id
