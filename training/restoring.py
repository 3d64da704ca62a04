"""Restores a base after it trained an adapter, so that it need not be loaded again to measure and publish.

Training a LoRA does not change the base's weights. This restores the rest: the adapter's layers, the attention implementation,
gradient checkpointing, the cache, and whether bitsandbytes may repack 4-bit weights. A test compares it with a fresh load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lorag.pipeline.engine.weights import quantized_layers

CONFIG = ("use_cache", "bos_token_id", "eos_token_id", "pad_token_id")
"""Keys that trainers change in a base's configuration."""


@dataclass(frozen=True, slots=True)
class BeforeTraining:
    """The state of a base after loading: attention implementation, configuration, and which 4-bit layers may be repacked.

    Repacking by bitsandbytes stops gradients (design §9).
    """

    attention: str
    config: Mapping[str, Any]
    repacked: tuple[bool, ...]

    @classmethod
    def of(cls, model: Any) -> BeforeTraining:
        """The state of a newly loaded base."""
        config = {key: getattr(model.config, key, None) for key in CONFIG}
        layers = quantized_layers(model)
        return cls(model.config._attn_implementation, config, tuple(bool(layer.support_avx512bf16_for_cpu) for layer in layers))

    def restore(self, model: Any) -> Any:
        """The base under the peft `model`, without an adapter and in this state."""
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
