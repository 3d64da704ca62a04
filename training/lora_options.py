"""The kinds of LoRA a recipe may ask for, made so that the adapter works on a base that others share.

Problem: PiSSA (arXiv 2404.02948) starts from the base's principal components and takes them out of the base; LoftQ (arXiv
2310.08659) starts from what quantization took away. peft 0.21 does the first by changing the base's weights. No adapter on
a shared base may do that, and peft refuses it for a quantized one. It does the second on CUDA only, ignoring the adapter's scale.
Choice: the base is never touched. A PiSSA adapter has twice the rank: one half is trained, the other is its start with the
opposite sign and frozen. So the run starts at the base itself and learns exactly what peft's PiSSA learns (a test checks it).
The saved adapter is the difference of the halves, an ordinary LoRA. A LoftQ adapter starts from the difference of the base's
files and the weights in memory, divided by its scale. Rejected: saving next to a changed base, since then no two adapters
could share it.

Knows peft's layers and a base's files, but no rows and no trainer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import TrainingError
from lorag.training.recipe_parts import GenerationLora, Init, LoraShape

QUANTIZED = (Precision.NF4, Precision.INT8)
EXACT_WIDTH = 2048
"""Matrices whose shorter side is longer get their principal components by subspace iteration: an exact one takes minutes."""


def require_possible(shape: GenerationLora, *, precision: Precision, pack_tokens: int, weight_decay: float) -> None:
    """Raises TrainingError, before anything is loaded, for options that do not work together."""
    loftq, pissa = shape.init is Init.LOFTQ, shape.init is Init.PISSA
    reasons = {
        "activated with dora: peft has no layer that is both; leave one out": shape.activated and shape.dora,
        "activated with pack_tokens: peft switches an adapter on once a sequence, and a packed one holds many rows; "
        "set pack_tokens to 0": shape.activated and pack_tokens > 0,
        "activated with init loftq: quantization errs in every token, and the adapter is off in most; use init default": (
            shape.activated and loftq
        ),
        "dora with init loftq: the row lengths would be those of the quantized base and the rows those of the whole one; "
        "use init default": shape.dora and loftq,
        "dora with precision int8: peft 0.21 loses the scales of a weight whose rows it measures; use nf4, bf16 or fp32": (
            shape.dora and precision is Precision.INT8
        ),
        f"init loftq with precision {precision.value}: it makes up for quantization and this base is not quantized; "
        "use precision nf4 or int8, or init default": loftq and precision not in QUANTIZED,
        "init pissa with weight_decay: it would draw the frozen half to zero; set weight_decay to 0": (
            pissa and weight_decay > 0
        ),
    }
    if found := next((reason for reason, holds in reasons.items() if holds), None):
        raise TrainingError(f"lora: {found}")


def lora_config(shape: LoraShape, invocation: Sequence[int] = ()) -> Any:
    """peft's settings of the adapter that is trained. `invocation` are the token ids that switch an activated one on."""
    with quiet_libraries():  # peft imports bitsandbytes, which prints about unused kernels
        from peft import LoraConfig

    generation = shape if isinstance(shape, GenerationLora) else GenerationLora()
    halves = 2 if generation.init is Init.PISSA else 1
    alpha: float = shape.alpha * (math.sqrt(halves) if shape.rslora else halves)  # the same scale at twice the rank
    return LoraConfig(
        r=shape.rank * halves,
        lora_alpha=shape.alpha if halves == 1 else alpha,  # type: ignore[arg-type]
        lora_dropout=shape.dropout,
        target_modules=shape.targets if isinstance(shape.targets, str) else list(shape.targets),
        use_rslora=shape.rslora,
        use_dora=shape.dora,
        alora_invocation_tokens=list(invocation) if generation.activated else None,
        task_type="CAUSAL_LM",
    )


def initialise(model: Any, shape: GenerationLora, base_folder: Path) -> int:
    """Initialise the adapter of the peft `model` as `shape.init` says, and return how many of its values are frozen.

    Raises TrainingError if the rank is larger than a target's matrix, or the base's files do not name its modules.
    """
    import torch

    if shape.init is Init.DEFAULT:
        return 0
    files = _stored(base_folder) if shape.init is Init.LOFTQ else {}
    frozen = 0
    with torch.no_grad():
        for name, layer, adapter in _layers(model):
            weight = _dense(layer)
            if shape.rank > min(weight.shape):
                raise TrainingError(
                    f"init {shape.init.value}: rank {shape.rank} exceeds {name} of {tuple(weight.shape)}; lower it"
                )
            if shape.init is Init.LOFTQ:
                _set(layer, adapter, *_factors(_original(files, name, weight) - weight, shape.rank, shape.scale))
                continue
            b, a = _factors(weight, shape.rank, shape.scale)
            _set(layer, adapter, torch.cat([b, -b], dim=1), torch.cat([a, a], dim=0))
            frozen += a.numel() + b.numel()
    if shape.init is Init.PISSA:
        _freeze_second_halves(model, shape.rank)
    return frozen


def train_in_float32(model: Any) -> None:
    """Keep trained weights in float32, whatever the base computes in: in bfloat16 a small update rounds to zero."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def lora_scale(config: Any) -> float:
    """The factor of a peft adapter's product B·A."""
    return float(config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r))


def as_difference(tensors: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """A PiSSA adapter's tensors by name → those of an ordinary LoRA of scale 1 that equals scale · B·A, its factors balanced.

    The halves are the base's large components and differ by little. Rounding them to half precision would lose a part of the
    difference, so the product is factored anew (QR of both sides, then an SVD of rank by rank).
    """
    import torch

    found = dict(tensors)
    for name in [key for key in tensors if ".lora_A." in key]:
        partner = name.replace(".lora_A.", ".lora_B.")
        q_out, r_out = torch.linalg.qr(tensors[partner].float())
        q_in, r_in = torch.linalg.qr(tensors[name].float().T)
        u, s, vh = torch.linalg.svd(scale * (r_out @ r_in.T), full_matrices=False)
        root = s.sqrt()
        rank = tensors[name].shape[0]
        found[partner] = _padded((q_out @ u) * root, rank, 1)
        found[name] = _padded(root[:, None] * (vh @ q_in.T), rank, 0)
    return found


def _padded(matrix: Any, rank: int, side: int) -> Any:
    """Pad with zeros up to `rank`: a layer narrower than that has fewer components."""
    import torch

    lacking = rank - matrix.shape[side]
    return torch.nn.functional.pad(matrix, (0, lacking) if side == 1 else (0, 0, 0, lacking)) if lacking > 0 else matrix


def _layers(model: Any) -> Iterator[tuple[str, Any, str]]:
    """Name within the base, peft layer, and adapter name of each layer that has LoRA matrices."""
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            for adapter in module.lora_A:
                yield name.removeprefix("base_model.model."), module, adapter


def _dense(layer: Any) -> Any:
    """The frozen weight as the layer computes with it, float32, shape (out, in)."""
    from peft.utils.integrations import dequantize_module_weight

    weight = dequantize_module_weight(layer.get_base_layer()).detach().float()
    return weight.T if getattr(layer, "fan_in_fan_out", False) else weight


def _factors(matrix: Any, rank: int, scale: float) -> tuple[Any, Any]:
    """B (out, rank) and A (rank, in) with scale · B·A the best approximation of `matrix` of that rank."""
    import torch

    if min(matrix.shape) <= EXACT_WIDTH:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        u, s, vh = u[:, :rank], s[:rank], vh[:rank]
    else:
        u, s, v = torch.svd_lowrank(matrix, q=min(rank + 8, *matrix.shape), niter=8)
        u, s, vh = u[:, :rank], s[:rank], v[:, :rank].T
    root = (s / scale).sqrt()
    return u * root, root[:, None] * vh


def _set(layer: Any, adapter: str, b: Any, a: Any) -> None:
    for side, value in ((layer.lora_B, b), (layer.lora_A, a)):
        parameter = side[adapter].weight
        parameter.copy_(value.to(parameter.dtype))


def _freeze_second_halves(model: Any, rank: int) -> None:
    """Zero their gradient, so no optimizer step without weight decay changes them."""
    for _, layer, adapter in _layers(model):
        layer.lora_A[adapter].weight.register_hook(_first_half(rank, 0))
        layer.lora_B[adapter].weight.register_hook(_first_half(rank, 1))


def _first_half(rank: int, side: int) -> Callable[[Any], Any]:
    def cut(gradient: Any) -> Any:
        import torch

        first = gradient.narrow(side, 0, rank)
        return torch.cat([first, torch.zeros_like(first)], dim=side)

    return cut


def _stored(folder: Path) -> dict[str, Path]:
    """Tensor name → the safetensors file of the base that holds it."""
    from safetensors import safe_open

    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(str(path), framework="pt") as file:
            found.update(dict.fromkeys(file.keys(), path))
    return found


def _original(files: Mapping[str, Path], name: str, like: Any) -> Any:
    from safetensors import safe_open

    key = f"{name}.weight"
    if key not in files:
        raise TrainingError(
            f"init loftq: the base's files hold no {key}, so its quantization error is not known; use init default"
        )
    with safe_open(str(files[key]), framework="pt") as file:
        return file.get_tensor(key).float().to(like.device)
