"""How long training will take: the floating-point operations it needs, by how many this machine does now.

Products of matrices of the model's own shape are timed for a moment, so a busy machine counts as it is; training reaches a known
share of that rate (the rest goes into softmax, norms, restoring quantized weights and the optimiser). Other work that comes or
goes changes more than the estimate can know: on a crowded machine steps took from 0.2 to 4.6 times it (LOG.md).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lorag.training.estimate_trace import Traced

EFFICIENCY = {"cpu": 0.5, "cuda": 0.35}
"""Training's rate as a share of that of plain products. CPU: measured on smollm2-135m and minilm by
`benchmarks/memory_estimate.py`; CUDA: assumed."""

CALIBRATION_TOKENS = 256
CALIBRATION_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Geometry:
    """What of a model's config decides the operations that are not in its matrices."""

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Geometry:
        """From a transformers config, the text part of one with several."""
        text = config.get_text_config()
        hidden = int(text.hidden_size)
        intermediate = int(getattr(text, "intermediate_size", 0) or 4 * hidden)
        return cls(int(text.num_hidden_layers), hidden, intermediate, int(text.vocab_size))


def operations(traced: Traced, geometry: Geometry, *, tokens: float, length: float, scored: float, recomputed: bool) -> float:
    """Floating-point operations of training on `tokens`, in rows of `length`, with logits at `scored` positions.

    Frozen matrices cost two a parameter and token forward and two backward (their own gradient is not needed), the adapter's
    six, attention's scores twelve a layer, token pair and unit of width. `recomputed` adds the forward pass again.
    """
    frozen = traced.linear * tokens
    pairs = geometry.layers * geometry.hidden * length * tokens
    logits = geometry.vocabulary * geometry.hidden * scored
    once = 2 * frozen + 4 * pairs + 2 * traced.trainable * tokens
    return 4 * frozen + 12 * pairs + 6 * traced.trainable * tokens + 4 * logits + (once if recomputed else 0)


def measure_rate(geometry: Geometry, compute: str, device: str) -> float:
    """Floating-point operations a second of products of this model's shape, here and now. Takes about half a second."""
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
