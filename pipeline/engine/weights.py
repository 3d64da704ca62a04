"""Loads a base's weights: fp32, bf16, fp16, int8 or NF4 through transformers and bitsandbytes, on CPU and GPU alike."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.processor import compute_dtype, detect, require_device
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.errors import BaseError

_PACKED_ROWS, _PACKED_COLUMNS = 32, 64
"""A 4-bit layer's sides must be multiples of these to be packed for CPU inference."""

HELD_BYTES = 1 << 30
"""Bytes that a 4-bit base may take, at most, when its weights are held in bfloat16 for speed."""


class Precision(StrEnum):
    """How base weights are stored. NF4 is 4-bit NormalFloat (QLoRA, arXiv 2305.14314)."""

    NF4 = "nf4"
    INT8 = "int8"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


OWN_TYPE = {Precision.FP32: "float32", Precision.BF16: "bfloat16", Precision.FP16: "float16"}
"""What weights that are not quantized compute in."""


@dataclass(frozen=True, slots=True)
class LoadedBase:
    """A base in memory. `model` is a transformers causal LM in eval mode, `compute` the name of its compute dtype."""

    base: Base
    model: Any
    tokenizer: Any
    precision: Precision
    compute: str
    device: str


def resolve_device(requested: str) -> str:
    import torch

    if requested != "auto":
        require_device(requested)
        return requested
    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_compute(precision: Precision, requested: str, device: str) -> str:
    if precision in OWN_TYPE:
        return OWN_TYPE[precision]
    if requested != "auto":
        return requested
    return "bfloat16" if device.startswith("cuda") else compute_dtype(detect())


def four_bits(dtype: Any, device: str, *, divisible: bool = False) -> Any:
    """transformers' settings for NF4 weights and compute in the torch type `dtype`; `divisible` as in `load_weights`."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=device.startswith("cuda"),
        bnb_4bit_quant_storage=dtype if divisible else None,
    )


def load_weights(
    base: Base, *, precision: Precision = Precision.NF4, compute: str = "auto", device: str = "auto", divisible: bool = False
) -> LoadedBase:
    """Load `base`. `compute` is auto, float32, bfloat16 or float16; it applies to quantized weights. If `divisible`, 4-bit
    weights are stored in that type, which FSDP can shard among processes; it cannot shard bytes.

    Raises BaseError if the folder does not load or there is no such device.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    where = resolve_device(device)
    dtype_name = resolve_compute(precision, compute, where)
    dtype = getattr(torch, dtype_name)
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": where}, "trust_remote_code": False, "use_safetensors": True}
    if precision is Precision.NF4:
        options["quantization_config"] = four_bits(dtype, where, divisible=divisible)
    elif precision is Precision.INT8:
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
        # It logs at each matrix product, thousands a reply, that it works in float16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    try:
        with quiet_libraries():
            model = AutoModelForCausalLM.from_pretrained(base.location, **options)
            tokenizer = AutoTokenizer.from_pretrained(base.location, trust_remote_code=False)
    except Exception as error:  # transformers, safetensors and tokenizers raise unrelated classes for an unusable folder
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BaseError(f"base {base.id!r} does not load from {base.location}: {reason}") from error
    model.eval()
    if precision is Precision.NF4:
        _leave_unpackable(model)
    return LoadedBase(base, model, tokenizer, precision, dtype_name, where)


def _leave_unpackable(model: Any) -> None:
    """Keep bitsandbytes from packing layers that do not fit its packed form for CPU inference: they fail at the first reply.

    It packs rows in blocks of 32 and scales in blocks of 64 that may not cross a row. Inputs of some Gemma 4 layers are narrower.
    """
    for layer in quantized_layers(model):
        if layer.out_features % _PACKED_ROWS or layer.in_features % _PACKED_COLUMNS:
            layer.support_avx512bf16_for_cpu = False


def quantized_layers(model: Any) -> list[Any]:
    """The layers that bitsandbytes keeps in 4 bit, in the model's order."""
    from bitsandbytes.nn.modules import Linear4bit  # peft's wrapper around such a layer has the same name

    return [module for module in model.modules() if isinstance(module, Linear4bit)]


def keep_gradients(model: Any) -> int:
    """Keep bitsandbytes from repacking 4-bit weights for CPU inference, and return the number of such layers.

    After a repack no gradient passes a `Linear4bit`, silently (design §9): call this on every model that will train.
    """
    layers = quantized_layers(model)
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)


def unpack_weights(model: Any) -> None:
    """Unpack what bitsandbytes packed for CPU inference, and keep it from packing again: for code that reads 4-bit weights
    itself.

    Replies stay what they were, since the packed scales, rounded to bfloat16, are kept; decoding gets slower. Release 0.50
    leaves scales that are not quantized themselves transposed, so this corrects them.
    """
    from bitsandbytes.functional import _convert_weight_packed_for_cpu_inverse

    keep_gradients(model)
    for layer in quantized_layers(model):
        weight = getattr(layer, "base_layer", layer).weight
        state = getattr(weight, "quant_state", None)
        if state is None or not getattr(state, "packing_format_for_cpu", False):
            continue
        weight.data, weight.quant_state = _convert_weight_packed_for_cpu_inverse(weight.data, state)
        if not weight.quant_state.nested:
            weight.quant_state.absmax = weight.quant_state.absmax.T.reshape(-1).float().contiguous()


def hold_dequantized(loaded: LoadedBase) -> bool:
    """Hold a small base's 4-bit weights as bfloat16, with the same values, if a CPU multiplies those far faster. True if it was
    done.

    bitsandbytes' product for CPUs does not use AMX: 512 rows take 17 times as long as in bfloat16 (training/LOG.md). Without
    AMX there is little to gain. For inference alone: a base that trains stays in 4 bit.
    """
    if loaded.precision is not Precision.NF4 or loaded.device != "cpu" or loaded.compute != "bfloat16":
        return False
    if not detect().has_amx or 2 * loaded.model.num_parameters() > HELD_BYTES:
        return False
    with quiet_libraries():
        loaded.model.dequantize()
    loaded.model.requires_grad_(False)
    return True


@contextmanager
def packed_weights_kept(model: Any) -> Iterator[None]:
    """Within: `model.state_dict()`, which peft calls to load an adapter, does not unpack 4-bit weights. No forward may run.

    On a processor with AVX512-BF16 bitsandbytes packs each 4-bit layer that runs, and `state_dict()` unpacks it again. Without
    double quantization release 0.50 leaves the scales transposed, which silently corrupts the base.
    """
    states: list[Any] = [getattr(p, "quant_state", None) for p in model.parameters()]
    packed = [state for state in states if getattr(state, "packing_format_for_cpu", False)]
    for state in packed:
        state.packing_format_for_cpu = False
    try:
        yield
    finally:
        for state in packed:
            state.packing_format_for_cpu = True
