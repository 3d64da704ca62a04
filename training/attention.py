"""Attention for training on a CPU: what transformers calls eager, without the float32 copies of its weights.

torch's softmax computes in float32 internally for any input dtype. Asking it for float32 output only makes it write, keep and
read back three times the memory. torch's own fused attention for CPUs has a slow backward pass. This one saves about a third of
attention's time and two thirds of its memory (training/LOG.md); a test compares it with eager. Loads no model library by itself.
"""

from __future__ import annotations

from typing import Any

NAME = "lorag_lean"


def lean_attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, dropout: float = 0.0, **kwargs: Any
) -> tuple[Any, None]:
    """Scaled dot-product attention: query (batch, heads, length, width), key and value with their own number of heads.

    `attention_mask` is added to the scores, (batch, 1, length, length), or None. Returns (batch, length, heads, width).
    """
    import torch

    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = torch.matmul(query * scaling, key.transpose(2, 3))
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1)
    if dropout:
        weights = torch.nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def use_lean_attention(model: Any) -> None:
    """Use this attention in `model`, or eager if the model's attention has more than products and a softmax (caps, sinks).

    torch's fused attention does not support such a model either, and its class says so.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask

    if not model._supports_sdpa:
        model.set_attn_implementation("eager")
        return
    AttentionInterface.register(NAME, lean_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)
