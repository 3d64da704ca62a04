"""Merging: replaces W and its adapter by W + scale · B·A, and checks that both compute the same.

Each layer is merged in float32 and compared with its unmerged output before rounding. peft knows the scale (alpha / rank, with
rsLoRA alpha / √rank) and DoRA's lengths; the outputs show whether it applied them. `merging_parity` measures the effect of
rounding and of the base's precision on the whole model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lorag.pipeline.errors import AdapterError

LAYER_TOLERANCE = 0.01
"""Maximum difference of a merged layer's output, as a share of what the adapter adds, in float32. Rounding alone gives about
1e-5; an adapter that is not merged, or merged with twice its scale, gives 1."""

ROWS = 8
"""Random inputs for the check of a layer."""


@dataclass(frozen=True, slots=True)
class MergedLayers:
    """The number of merged layers, and the largest difference, as a share of what the adapter added to that layer's output."""

    layers: int
    largest_error: float


def merge_layers(model: Any, dtype: Any) -> MergedLayers:
    """Merge the adapters of `model` into its weights, rounded to `dtype`; plain layers replace LoRA's.

    `model` is any module with peft's LoRA layers, one active adapter and a base that is not quantized. Raises AdapterError for
    a layer that differs by more than `LAYER_TOLERANCE`, a quantized base, a weight that another module shares, or no LoRA
    layer. The model is then half merged and not to be used.
    """
    import torch

    shared = _shared_weights(model)
    errors = []
    with torch.no_grad():
        for name, layer in list(_lora_layers(model)):
            weight = layer.get_base_layer().weight
            if not weight.is_floating_point():
                raise AdapterError(f"{name} is quantized; an adapter is merged into half or full precision only")
            if weight.data_ptr() in shared:
                raise AdapterError(
                    f"{name} shares its weight with another module, which a merge would change too; serve it unmerged"
                )
            errors.append(_merge_layer(name, layer))
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer().to(dtype))
    if not errors:
        raise AdapterError("the model holds no LoRA layer; load the adapter before merging it")
    return MergedLayers(len(errors), max(errors))


def _lora_layers(model: Any) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module


def _shared_weights(model: Any) -> set[int]:
    """Addresses of weights that two modules share, such as a tied output layer's."""
    places: dict[int, int] = {}
    for module in model.modules():
        weight = module._parameters.get("weight") if hasattr(module, "_parameters") else None
        if weight is not None:
            places[weight.data_ptr()] = places.get(weight.data_ptr(), 0) + 1
    return {place for place, times in places.items() if times > 1}


def _merge_layer(name: str, layer: Any) -> float:
    """Merge one layer in float32 and return its difference, as a share of what the adapter adds."""
    import torch

    layer.float().eval()
    base = layer.get_base_layer()
    generator = torch.Generator(device="cpu").manual_seed(0)
    inputs = torch.randn(ROWS, base.in_features, generator=generator).to(base.weight.device)
    bare, unmerged = base(inputs), layer(inputs)
    added = float((unmerged - bare).abs().max())
    layer.merge(safe_merge=True)
    merged = base(inputs)
    error = float((merged - unmerged).abs().max())
    share = error / added if added else float(error > 0)
    if not share <= LAYER_TOLERANCE:
        raise AdapterError(
            f"{name}: merged, its output differs from the unmerged one by {share:.1%} of what the adapter adds, more than "
            f"{LAYER_TOLERANCE:.0%}; the merge is wrong, serve the adapter unmerged"
        )
    return share
