"""Parts of every encoder training: adding the LoRA, recomputing activations, and saving the adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.inspection import WEIGHTS_FILE
from lorag.pipeline.adapters.lora_settings import CONFIG_FILE
from lorag.pipeline.engine.processor import compute_dtype, detect
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.retrieval.sentence_encoder import MINILM, PROMPTS_FILE
from lorag.training.lora_options import lora_config, train_in_float32
from lorag.training.recipe_parts import LoraShape
from lorag.training.targets import require_targets

MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
"""The base that an adapter's config names if the model is the packaged copy of it."""


def add_lora(model: Any, shape: LoraShape, name: str) -> None:
    """Put an untrained adapter on the transformer inside a `SentenceTransformer`; only the adapter is trained then.

    Raises TrainingError if the targets are no linear modules of the model, which errors call `name`.
    """
    require_targets(model.transformers_model, shape, name)
    config = lora_config(shape)
    config.task_type = "FEATURE_EXTRACTION"
    if any(".pooler." in f".{module}." for module, _ in model.named_modules()):
        # BERT's own comes after the hidden states that are averaged: it would get weights and no gradient.
        config.exclude_modules = r"(.*\.)?pooler\..*"
    try:
        model.add_adapter(config)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"targets {shape.targets}: {reason}; name linear modules of {name}") from error
    train_in_float32(model)  # on 4-bit weights peft keeps the adapter in bfloat16


def has_bf16(device: str) -> bool:
    """Whether products are worth computing in bfloat16 on `device`, `cpu` or another kind."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported())
    return compute_dtype(detect()) == "bfloat16"


def recompute_activations(model: Any) -> None:
    """Recompute activations in the backward pass: memory of one layer instead of all, for about a third more time."""
    transformer = model.transformers_model
    transformer.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def save_half(model: Any, folder: Path, name: str) -> Path:
    """Save the adapter as plain peft does, in float16, without this machine's paths."""
    folder.mkdir(parents=True, exist_ok=True)
    model.transformers_model.save_pretrained(str(folder))
    return halve(folder, folder, name)


def halve(source: Path, folder: Path, name: str) -> Path:
    """The adapter in `source`, a checkpoint's folder or any other, as `save_half` saves it. `name` is the model's."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(str(source / WEIGHTS_FILE), framework="pt") as stored:
        tensors = {key: stored.get_tensor(key).half().contiguous() for key in stored.keys()}  # noqa: SIM118
    config = json.loads((source / CONFIG_FILE).read_bytes())
    config |= {"base_model_name_or_path": MINILM_HUB_ID if name == MINILM else name, "inference_mode": True}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def write_instruction(folder: Path, instruction: str) -> None:
    """Save the instruction before each query with the adapter, in the file format of sentence-transformers."""
    content = json.dumps({"prompts": {"query": instruction}}, indent=2) + "\n"
    (folder / PROMPTS_FILE).write_text(content, encoding="utf-8")


def tensor_bytes(state: Any) -> int:
    """Bytes of all tensors in nested mappings and lists, such as an optimiser's state."""
    if hasattr(state, "element_size"):
        return int(state.numel() * state.element_size())
    if isinstance(state, dict):
        return sum(tensor_bytes(value) for value in state.values())
    return sum(map(tensor_bytes, state)) if isinstance(state, list | tuple) else 0
