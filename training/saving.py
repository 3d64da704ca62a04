"""Saves the result of a run: an adapter in half precision, or a fully trained base. Writes no local paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.inspection import WEIGHTS_FILE
from lorag.training.lora_options import as_difference, lora_scale


def save_half(model: Any, folder: Path, base_id: str, state: Mapping[str, Any] | None = None, *, as_one: bool = False) -> Path:
    """Save the LoRA weights of a peft model as float16 safetensors with a plain adapter_config.json, without local paths.

    `state` holds the weights if the model has only its process's shard. `as_one` is for a PiSSA adapter of two halves
    (`training.lora_options`): their difference is saved, as an ordinary LoRA.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    lora = get_peft_model_state_dict(model, state_dict=state)
    config = model.peft_config[model.active_adapter]
    if as_one:
        lora = as_difference(lora, lora_scale(config))
        config.lora_alpha, config.use_rslora = config.r, False
    tensors = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in lora.items()}
    save_file(tensors, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})
    config.inference_mode = True
    config.base_model_name_or_path = base_id
    config.save_pretrained(str(folder))
    return folder


def save_whole(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Save a fully trained base in bfloat16 as transformers does: a folder that `resolve_base` takes."""
    import torch

    model.to(torch.bfloat16).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder
