"""How long training will take: its floating-point operations divided by the rate that this machine reaches now.

Products of matrices of the model's shape are timed briefly, so the load of the machine counts. Training reaches a known share of
that rate; the rest goes into softmax, norms, dequantizing weights and the optimiser. Later changes of the load are not foreseen:
on a crowded machine steps took from 0.2 to 4.6 times the estimate (LOG.md).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lorag.training.estimate_trace import Traced

EFFICIENCY = {"cpu": 0.5, "cuda": 0.35}
"""Training's rate as a share of that of matrix products. CPU: measured on smollm2-135m and minilm by
`benchmarks/memory_estimate.py`; CUDA: assumed."""

CALIBRATION_TOKENS = 256
CALIBRATION_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Geometry:
    """The figures of a model's config for attention and logits, whose operations its parameter count does not give."""

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Geometry:
        """From a transformers config, or the text part of a composite one."""
        text = config.get_text_config()
        hidden = int(text.hidden_size)
        intermediate = int(getattr(text, "intermediate_size", 0) or 4 * hidden)
        return cls(int(text.num_hidden_layers), hidden, intermediate, int(text.vocab_size))


def operations(traced: Traced, geometry: Geometry, *, tokens: float, length: float, scored: float, recomputed: bool) -> float:
    """Floating-point operations of training on `tokens`, in rows of `length`, with logits at `scored` positions.

    Frozen matrices cost two a parameter and token forward and two backward, since they need no gradient of their own. The
    adapter costs six, attention's scores twelve a layer, token pair and unit of width. `recomputed` adds a forward pass.
    """
    frozen = traced.linear * tokens
    pairs = geometry.layers * geometry.hidden * length * tokens
    logits = geometry.vocabulary * geometry.hidden * scored
    once = 2 * frozen + 4 * pairs + 2 * traced.trainable * tokens
    return 4 * frozen + 12 * pairs + 6 * traced.trainable * tokens + 4 * logits + (once if recomputed else 0)


def measure_rate(geometry: Geometry, compute: str, device: str) -> float:
    """Floating-point operations a second of products of this model's shape, measured now. Takes about half a second."""
    import torch

    from lorag.pipeline.engine.processor import probe_threads

    if device == "cpu":
        probe_threads()
    dtype = getattr(torch, compute)
    left = torch.ones(CALIBRATION_TOKENS, geometry.hidden, dtype=dtype, device=device)
    right = torch.ones(geometry.intermediate, geometry.hidden, dtype=dtype, device=device)
    with torch.no_grad():
        done, started = -2, 0.0  # the first two only warm up
        while done < 3 or time.perf_counter() - started < CALIBRATION_SECONDS:
            if done == 0:
                started = time.perf_counter()
            torch.nn.functional.linear(left, right)
            if device != "cpu":
                torch.cuda.synchronize()
            done += 1
        seconds = time.perf_counter() - started
    return 2.0 * CALIBRATION_TOKENS * geometry.hidden * geometry.intermediate * done / seconds
