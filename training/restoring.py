"""A base that has trained an adapter, given back as a fresh load is, so that it need not be loaded again to measure and publish.

Training a LoRA leaves the base's weights alone. What it changes around them is put back here: the adapter's layers, the way of
attending, checkpointing, the cache, and whether bitsandbytes may repack 4-bit weights. A test holds the result to a fresh load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lorag.pipeline.engine.weights import quantized_layers

CONFIG = ("use_cache", "bos_token_id", "eos_token_id", "pad_token_id")
"""What trainers set in a base's configuration."""


@dataclass(frozen=True, slots=True)
class BeforeTraining:
    """What a base was like when it was loaded: its way of attending, its configuration, and by 4-bit layer whether bitsandbytes
    may repack it (design §9)."""

    attention: str
    config: Mapping[str, Any]
    repacked: tuple[bool, ...]

    @classmethod
    def of(cls, model: Any) -> BeforeTraining:
        """Of a base that was loaded just now."""
        config = {key: getattr(model.config, key, None) for key in CONFIG}
        layers = quantized_layers(model)
        return cls(model.config._attn_implementation, config, tuple(bool(layer.support_avx512bf16_for_cpu) for layer in layers))

    def restore(self, model: Any) -> Any:
        """The base under the peft `model`, without an adapter and as it was."""
        base = model.unload()
        base.__dict__.pop("peft_config", None)
        base.disable_input_require_grads()
        for module in base.modules():
            if getattr(module, "gradient_checkpointing", False):
                module.gradient_checkpointing = False
        base.set_attn_implementation(self.attention)
        for key, value in self.config.items():
            setattr(base.config, key, value)
        for layer, may in zip(quantized_layers(base), self.repacked, strict=True):
            layer.support_avx512bf16_for_cpu = may
        return base.eval()
