"""The fused LoRA product against peft's own forward."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from lorag.pipeline.engine.fused import fuse


def adapted(dtype: torch.dtype, **more: object) -> tuple[nn.Module, nn.Module]:
    """A linear layer with two adapters whose weights are not zero: the model, and its LoRA layer."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=["0"], **more)  # type: ignore[arg-type]
    model = get_peft_model(nn.Sequential(nn.Linear(24, 40)), config, adapter_name="ada")
    model.add_adapter("bob", LoraConfig(r=2, lora_alpha=2, target_modules=["0"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.5)
    model.to(dtype).eval()
    (layer,) = [module for module in model.modules() if hasattr(module, "lora_A")]
    return model, layer


X = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("name", ["ada", "bob"])
def test_it_gives_what_peft_gives(dtype: torch.dtype, near: float, name: str) -> None:
    model, layer = adapted(dtype)
    model.set_adapter(name)
    x = X.to(dtype)
    with torch.no_grad():
        expected = layer(x)
        fuse([layer])
        found = layer(x)
        bare = layer.base_layer(x)
    assert found.dtype == dtype and found.shape == (3, 5, 40)
    assert torch.allclose(found.float(), expected.float(), rtol=near, atol=near)
    assert not torch.allclose(found.float(), bare.float(), atol=0.1)


def test_what_is_not_plain_goes_pefts_way() -> None:
    """Switched off, merged, two adapters at once, a row for each adapter, and with gradients."""
    model, layer = adapted(torch.float32)
    with torch.no_grad():
        rows = dict(adapter_names=["ada", "bob", "__base__"])
        expected = [layer(X), layer(X, **rows)]
        layer.set_adapter(["ada", "bob"])
        both = layer(X)
        layer.set_adapter("ada")
        fuse([layer])
        assert torch.allclose(layer(X, **rows), expected[1])
        layer.set_adapter(["ada", "bob"])
        assert torch.allclose(layer(X), both)
        layer.set_adapter("ada")
        layer.enable_adapters(False)
        assert torch.equal(layer(X), layer.base_layer(X))
        layer.enable_adapters(True)
        layer.merge()
        assert torch.allclose(layer(X), expected[0], atol=1e-5)
        layer.unmerge()
    layer(X.clone().requires_grad_()).sum().backward()
    assert layer.lora_A["ada"].weight.grad is not None


@pytest.mark.parametrize("more", [{"use_dora": True}, {"lora_bias": True}])
def test_variants_are_pefts(more: dict[str, object]) -> None:
    model, layer = adapted(torch.float32, **more)
    model.set_adapter("ada")
    with torch.no_grad():
        expected = layer(X)
        fuse([layer])
        assert torch.allclose(layer(X), expected, atol=1e-6)


def test_the_input_is_not_changed() -> None:
    model, layer = adapted(torch.float32)
    model.set_adapter("ada")
    fuse([layer])
    x = X.clone()
    with torch.no_grad():
        assert torch.equal(layer(x), layer(x))
    assert torch.equal(x, X)
