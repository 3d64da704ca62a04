"""The attention that trains on a CPU is eager attention: same output, same gradients, with and without grouped heads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lorag.training.attention import NAME, lean_attention, use_lean_attention


@pytest.mark.parametrize("heads", [(4, 4), (6, 2)])
@pytest.mark.parametrize("masked", [True, False])
def test_it_agrees_with_eager_attention_and_its_gradients(heads: tuple[int, int], masked: bool) -> None:
    import torch
    from transformers.models.llama.modeling_llama import eager_attention_forward

    torch.manual_seed(0)
    length, width = 12, 8
    parts = [torch.randn(2, count, length, width, requires_grad=True) for count in (heads[0], heads[1], heads[1])]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mask = torch.zeros(2, 1, length, length).masked_fill(~causal, torch.finfo(torch.float32).min) if masked else None
    module: Any = SimpleNamespace(num_key_value_groups=heads[0] // heads[1], training=True)
    results = []
    for attend in (eager_attention_forward, lean_attention):
        output = attend(module, *parts, mask, scaling=0.37)[0]
        results.append((output, *torch.autograd.grad(output.square().sum(), parts)))
    for theirs, ours in zip(*results, strict=True):
        assert torch.allclose(theirs, ours, atol=1e-5)


def test_a_model_uses_it_and_gives_the_logits_of_eager(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.tensor([[5, 9, 2, 7, 11]])
    with torch.no_grad():
        eager = model(ids, use_cache=False).logits
        use_lean_attention(model)
        assert model.config._attn_implementation == NAME
        assert torch.allclose(model(ids, use_cache=False).logits, eager, atol=1e-5)


def test_a_model_with_capped_scores_keeps_eager() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8}
    model: Any = Gemma2ForCausalLM(Gemma2Config(**sizes, num_key_value_heads=1, vocab_size=16, pad_token_id=0))
    use_lean_attention(model)
    assert model.config._attn_implementation == "eager"
