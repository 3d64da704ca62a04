"""Merging on tiny models: what is merged equals what was beside, for each kind of LoRA, and a wrong merge is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.merging import LAYER_TOLERANCE, merge_layers
from lorag.pipeline.adapters.merging_parity import Observed, ParitySample, compare, observe, seconds_per_token
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Message, Role

SAMPLES = [
    ParitySample((Message("user", text),), reply)
    for text, reply in (
        ("Who keeps the key?", "The porter."),
        ("And at night?", "Ring the bell."),
        ("When does it leave?", "At 07:40"),
    )
]


def tuned_model(base: Path, **options: Any) -> Any:
    """The tiny base with an adapter whose every part is random, DoRA's lengths too."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM", **options)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
        if "magnitude" in name:
            parameter.data *= 1.1
    return model.eval()


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(3, 40)[None]).logits


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}, {"use_dora": True, "use_rslora": True}])
def test_merged_equals_unmerged_for_each_kind_of_lora(tiny_base: Path, options: dict[str, Any]) -> None:
    import torch

    model = tuned_model(tiny_base, **options)
    with model.disable_adapter():
        bare = logits(model)
    beside = logits(model)
    found = merge_layers(model.base_model.model, torch.float32)
    merged = logits(model.base_model.model)
    assert found.layers == 6
    assert found.largest_error < 1e-4
    assert float((merged - beside).abs().max()) < 1e-3
    assert float((beside - bare).abs().max()) > 0.1  # else there was nothing to merge
    assert not [name for name, _ in model.base_model.model.named_parameters() if "lora" in name]


def test_the_merged_weight_is_w_plus_scaled_b_a(tiny_base: Path) -> None:
    import torch

    model = tuned_model(tiny_base)
    layer = model.base_model.model.model.layers[1].self_attn.v_proj
    delta = layer.lora_B["default"].weight @ layer.lora_A["default"].weight * 8 / 4
    expected = (layer.base_layer.weight + delta).detach().clone()
    merge_layers(model.base_model.model, torch.float32)
    torch.testing.assert_close(model.base_model.model.model.layers[1].self_attn.v_proj.weight, expected)


def scale_changes_in_between(layer: Any) -> None:
    """What a merge with another scale does: alpha / rank there, alpha here."""
    merge = layer.merge

    def wrong(**options: Any) -> None:
        layer.scaling["default"] *= 1.05
        merge(**options)

    layer.merge = wrong


def nothing_is_merged(layer: Any) -> None:
    layer.merge = lambda **options: None


@pytest.mark.parametrize(("break_it", "share"), [(scale_changes_in_between, "5.0%"), (nothing_is_merged, "100.0%")])
def test_a_wrong_merge_is_refused_with_its_size(tiny_base: Path, break_it: Any, share: str) -> None:
    import torch

    model = tuned_model(tiny_base)
    break_it(model.base_model.model.model.layers[1].mlp.down_proj)
    with pytest.raises(AdapterError, match=f"layers.1.mlp.down_proj: merged, .* by {share} .* more than {LAYER_TOLERANCE:.0%}"):
        merge_layers(model.base_model.model, torch.float32)


def test_what_cannot_be_merged_is_refused(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    bare = AutoModelForCausalLM.from_pretrained(str(tiny_base), dtype=torch.float32)
    with pytest.raises(AdapterError, match="holds no LoRA layer"):
        merge_layers(bare, torch.float32)
    from peft import LoraConfig, get_peft_model

    with pytest.warns(UserWarning, match="complications, for example when merging"):
        tied = get_peft_model(bare, LoraConfig(r=4, target_modules=["lm_head"]))
    with pytest.raises(AdapterError, match="lm_head shares its weight with another module"):
        merge_layers(tied.base_model.model, torch.float32)


def test_a_quantized_base_is_not_merged_into(tiny_base: Path, tiny_adapter: Any) -> None:
    import torch

    loaded = load_weights(resolve_base(str(tiny_base)), precision=Precision.NF4, device="cpu")
    LocalEngine(loaded).load_adapter("x", tiny_adapter(tiny_base, 3, Role.REWRITER))
    with pytest.raises(AdapterError, match="is quantized; an adapter is merged into half or full precision only"):
        merge_layers(loaded.model, torch.float32)


def engine_with(base: Path, adapter: Path) -> LocalEngine:
    engine = LocalEngine(load_weights(resolve_base(str(base)), precision=Precision.FP32, device="cpu"))
    engine.load_adapter("x", adapter)
    return engine


def test_parity_holds_for_the_merged_model_and_not_for_another_adapters(tiny_base: Path, tiny_adapter: Any) -> None:
    import torch

    reference = engine_with(tiny_base, tiny_adapter(tiny_base, 3, Role.REWRITER))
    beside, bare = observe(reference, "x", SAMPLES), observe(reference, None, SAMPLES)
    before = reference.prompt_logits([Generation(sample.messages, "x", 1) for sample in SAMPLES])
    merge_layers(reference.loaded.model, torch.float32)
    merged_engine = LocalEngine(reference.loaded)
    merged = observe(merged_engine, None, SAMPLES)
    after = merged_engine.prompt_logits([Generation(sample.messages, None, 1) for sample in SAMPLES])
    torch.testing.assert_close(after, before, atol=1e-3, rtol=1e-3)
    seconds = seconds_per_token(merged_engine, None, SAMPLES[0])
    found = compare(beside, merged, bare, SAMPLES, seconds_unmerged=0.5, seconds_merged=seconds)
    assert found.holds and found.distance < 1e-4 and found.same == 1.0
    assert (found.samples, found.labels, found.seconds_unmerged) == (3, False, 0.5)
    assert 0 < found.seconds_merged < 60
    other = observe(engine_with(tiny_base, tiny_adapter(tiny_base, 4, Role.REWRITER)), "x", SAMPLES)
    wrong = compare(beside, other, bare, SAMPLES, seconds_unmerged=0.5, seconds_merged=0.5)
    assert not wrong.holds and wrong.distance > 0.1
    assert f"apart by {wrong.distance:.4f} nats a token" in wrong.describe()


def test_labels_are_held_to_a_stricter_share_than_replies() -> None:
    replies = [dataclasses.replace(SAMPLES[0]) for _ in range(10)]
    judged = [dataclasses.replace(SAMPLES[0], choices=("yes", "no")) for _ in range(10)]
    one = Observed((-1.0,) * 10, ("yes",) * 10)
    other = Observed((-1.02,) * 10, ("yes",) * 8 + ("no",) * 2)
    bare = Observed((-3.0,) * 10, ("no",) * 10)
    assert compare(one, other, bare, replies, seconds_unmerged=0.1, seconds_merged=0.1).holds
    found = compare(one, other, bare, judged, seconds_unmerged=0.1, seconds_merged=0.1)
    assert not found.holds and found.same == pytest.approx(0.8)
    assert found.tolerance == pytest.approx(0.8)  # 0.4 of the 2 nats that the adapter moves


def test_without_samples_nothing_is_said(tiny_base: Path, tiny_adapter: Any) -> None:
    with pytest.raises(AdapterError, match="no held-out rows to compare the merged model on"):
        observe(engine_with(tiny_base, tiny_adapter(tiny_base, 3, Role.REWRITER)), "x", [])
