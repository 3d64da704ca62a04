"""LoRA's update as one product that adds to its output: y += s · (x Aᵀ) Bᵀ.

peft multiplies, scales and adds, which are three passes over the output. On a CPU with fast bfloat16 products those passes are a
quarter of the time to read a prompt (training/LOG.md). What the fused product does not cover goes peft's way.
"""

from __future__ import annotations

from types import MethodType
from typing import Any


def fuse(layers: list[Any]) -> None:
    """Make peft's plain LoRA layers add in place; others, such as those of 4-bit weights, stay as they are."""
    from peft.tuners.lora.layer import Linear

    for layer in layers:
        if type(layer) is Linear:
            setattr(layer, "forward", MethodType(_forward, layer))  # noqa: B010 (mypy forbids to assign a method)


def _forward(layer: Any, x: Any, *args: Any, **more: Any) -> Any:
    """The layer's output for `x` of shape (…, inputs): the base's, with the active adapter's update added in place."""
    import torch

    active = layer.active_adapters
    name = active[0] if len(active) == 1 else ""
    special = args or more or layer.disable_adapters or layer.merged or layer.training or torch.is_grad_enabled()
    if special or name not in layer.lora_A or name in layer.lora_variant:
        return type(layer).forward(layer, x, *args, **more)
    down, up = layer.lora_A[name], layer.lora_B[name]
    if down.weight.dtype != x.dtype or up.bias is not None:
        return type(layer).forward(layer, x)
    y, low = layer.base_layer(x), down(x)
    y.view(-1, y.shape[-1]).addmm_(low.view(-1, low.shape[-1]), up.weight.t(), alpha=layer.scaling[name])
    return y
