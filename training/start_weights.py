"""Starts an adapter's training from the weights of another. Knows peft's settings and weights; no recipe, no registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.inspection import WEIGHTS_FILE
from lorag.pipeline.adapters.lora_settings import CONFIG_FILE
from lorag.pipeline.errors import TrainingError

SHAPE = (
    "r",
    "lora_alpha",
    "target_modules",
    "use_rslora",
    "use_dora",
    "rank_pattern",
    "alpha_pattern",
    "layers_to_transform",
    "alora_invocation_tokens",
)
"""Settings of adapter_config.json that change the meaning of the same weights."""


def load_start_weights(model: Any, folder: Path) -> None:
    """Load the weights of the adapter in `folder` into the peft `model`, whose adapter must be of the same shape.

    Raises TrainingError if settings, matrices or their sizes differ. No forward pass may have run.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    own_settings = model.peft_config[model.active_adapter]
    start_settings: Mapping[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    for key in SHAPE:
        own, other = _plain(getattr(own_settings, key, None)), _plain(start_settings.get(key))
        if own != other:
            raise TrainingError(f"{folder}: has {key} {other}, this recipe asks for {own}; train with its settings or anew")
    weights = load_file(folder / WEIGHTS_FILE)
    wanted = {name: tuple(tensor.shape) for name, tensor in get_peft_model_state_dict(model).items()}
    if wanted != {name: tuple(tensor.shape) for name, tensor in weights.items()}:
        raise TrainingError(f"{folder}: its matrices are not those of an adapter on this base; train on the base it was made for")
    set_peft_model_state_dict(model, weights)


def _plain(value: Any) -> Any:
    """A setting in comparable form: sorted if it is a collection, None if it is empty."""
    if isinstance(value, set | list | tuple):
        return sorted(value) or None
    return value or None
