"""Whether a model has the modules that an adapter names, before anything is trained. A model without weights is enough."""

from __future__ import annotations

from typing import Any

from lorag.pipeline.errors import TrainingError
from lorag.training.recipe_parts import LoraShape

ALL_LINEAR = "all-linear"


def require_targets(model: Any, shape: LoraShape, name: str) -> None:
    """Raises TrainingError if a target names no module of `model`, or one that is no linear layer below its output.

    A target is the last part of modules' names, as for peft. That leaves out a name that it does not find if it finds another,
    and also wraps embeddings, whose adapters other loaders do not take. Errors call the model `name`.
    """
    if shape.targets == ALL_LINEAR:
        return
    linear, others = _leaves(model)
    has = f"it has {', '.join(sorted({each.rpartition('.')[2] for each in linear}))}; or set targets to {ALL_LINEAR}"
    for target in shape.targets:
        if refused := next((each for each in others if f".{each}".endswith(f".{target}")), None):
            raise TrainingError(f"targets {target!r}: {refused} of {name} is no linear layer below the output; {has}")
        if not any(f".{each}".endswith(f".{target}") for each in linear):
            raise TrainingError(f"targets {target!r}: {name} has no such module; {has}")


def _leaves(model: Any) -> tuple[list[str], list[str]]:
    """The names of the linear layers, and of those modules without parts that are none, or are the output layer."""
    import torch
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    linear, others = list[str](), list[str]()
    for name, module in model.named_modules():
        if next(module.children(), None) is None:
            (linear if isinstance(module, torch.nn.Linear | Conv1D) and module is not output else others).append(name)
    return linear, others
