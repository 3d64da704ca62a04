"""Attention masks of packed sequences for each kind of layer of a model. Knows masks and a model's config; knows no row.

transformers uses a four-dimensional mask unchanged in every layer, so a layer with a sliding window would see beyond it. So the
window is added to the mask here, by the positions of tokens in their own rows. A model with layers of several kinds gets a mask
for each. No mask can separate rows in layers that carry a state from token to token.
"""

from __future__ import annotations

from typing import Any

from lorag.pipeline.errors import TrainingError

FULL, SLIDING = "full_attention", "sliding_attention"


def require_packable(model: Any) -> None:
    """Raises TrainingError for a model in which masks cannot separate the rows of a sequence, or have other rules."""
    config = model.config.get_text_config()
    others = sorted(set(getattr(config, "layer_types", None) or ()) - {FULL, SLIDING})
    if others or getattr(model, "_is_stateful", False):
        what = f"layers of the kind {others[0]}" if others else "layers that carry a state"
        raise TrainingError(
            f"pack_tokens: a {config.model_type} base has {what}, in which no mask separates packed rows; set it to 0"
        )


def layer_masks(config: Any, allowed: Any, positions: Any, dtype: Any) -> Any:
    """The boolean mask `allowed`, shape (batch, 1, length, length), as the additive mask of a model of this config.

    `positions`, (batch, length), are those of the tokens in their own rows. Returns one tensor of type `dtype`, or one for
    each kind of layer if there are two.
    """
    text = config.get_text_config()
    window: Any = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    if kinds is None:  # Mistral and Phi 3: all layers have the window
        return _additive(_within(allowed, positions, window) if window else allowed, dtype)
    if SLIDING not in kinds:
        return _additive(allowed, dtype)
    return {FULL: _additive(allowed, dtype), SLIDING: _additive(_within(allowed, positions, window), dtype)}


def _within(allowed: Any, positions: Any, window: int) -> Any:
    distance = positions[:, None, :, None] - positions[:, None, None, :]
    return allowed & (distance < window)


def _additive(allowed: Any, dtype: Any) -> Any:
    import torch

    blank = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return blank.masked_fill(~allowed, torch.finfo(dtype).min)
