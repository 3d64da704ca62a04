"""Loads a base's weights: fp32, bf16, fp16, int8 or NF4 through transformers and bitsandbytes, on CPU and GPU alike."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.engine.bases import Base
from pipeline.engine.processor import compute_dtype, detect, require_device
from pipeline.engine.quiet import quiet_libraries
from pipeline.errors import BaseError


class Precision(StrEnum):
    """How base weights are kept. NF4 is 4-bit NormalFloat (QLoRA, arXiv 2305.14314)."""

    NF4 = "nf4"
    INT8 = "int8"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True)
class LoadedBase:
    """A base in memory. `model` is a transformers causal LM in eval mode, `compute` the name of its compute dtype."""

    base: Base
    model: Any
    tokenizer: Any
    precision: Precision
    compute: str
    device: str


def _device(requested: str) -> str:
    import torch

    if requested != "auto":
        require_device(requested)
        return requested
    return "cuda" if torch.cuda.is_available() else "cpu"


def _compute(precision: Precision, requested: str, device: str) -> str:
    fixed = {Precision.FP32: "float32", Precision.BF16: "bfloat16", Precision.FP16: "float16"}
    if precision in fixed:
        return fixed[precision]
    if requested != "auto":
        return requested
    return "bfloat16" if device == "cuda" else compute_dtype(detect())


def load_weights(base: Base, *, precision: Precision = Precision.NF4, compute: str = "auto", device: str = "auto") -> LoadedBase:
    """Load `base`. `compute` is auto, float32, bfloat16 or float16; it applies to quantized weights.

    Raises BaseError where the folder does not load or the device is not there.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    where = _device(device)
    dtype_name = _compute(precision, compute, where)
    dtype = getattr(torch, dtype_name)
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": where}, "trust_remote_code": False, "use_safetensors": True}
    if precision is Precision.NF4:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=where == "cuda"
        )
    elif precision is Precision.INT8:
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
        # It says at each product of matrices, thousands a reply, that it works in float16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    try:
        with quiet_libraries():
            model = AutoModelForCausalLM.from_pretrained(base.location, **options)
            tokenizer = AutoTokenizer.from_pretrained(base.location, trust_remote_code=False)
    except Exception as error:  # transformers, safetensors and tokenizers raise unrelated classes for an unusable folder
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BaseError(f"base {base.id!r} does not load from {base.location}: {reason}") from error
    model.eval()
    return LoadedBase(base, model, tokenizer, precision, dtype_name, where)


def keep_gradients(model: Any) -> int:
    """Forbid bitsandbytes to repack 4-bit weights for CPU inference, and return how many layers that concerns.

    After a repack no gradient passes a `Linear4bit`, silently (design §9): call this on every model that will train.
    """
    from bitsandbytes.nn.modules import Linear4bit  # peft's wrapper around such a layer has the same name

    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)


@contextmanager
def packed_weights_kept(model: Any) -> Iterator[None]:
    """Within: `model.state_dict()`, which peft calls to load an adapter, leaves 4-bit weights alone. No forward may run.

    On a processor with AVX512-BF16 bitsandbytes packs each 4-bit layer that runs, and `state_dict()` unpacks it again; without
    double quantization release 0.50 leaves the scales transposed, so the base is scrambled from then on, silently.
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
