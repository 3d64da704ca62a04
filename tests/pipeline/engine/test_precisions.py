"""Weights in fp32, bf16, fp16, int8 and NF4, and what bitsandbytes does to 4-bit layers behind one's back (design §9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.engine import weights
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.processor import Processor
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.weights import Precision, hold_dequantized, keep_gradients, load_weights, packed_weights_kept
from lorag.pipeline.errors import BaseError
from lorag.pipeline.records import Message

TEXTS = ("Where does the ferry leave?", "And at night? " * 6, "key")
KINDS = {
    Precision.FP32: "float32",
    Precision.BF16: "bfloat16",
    Precision.FP16: "float16",
    Precision.INT8: "float32",
    Precision.NF4: "float32",
}


def packs() -> bool:
    """Whether bitsandbytes repacks 4-bit layers for inference on this processor."""
    from bitsandbytes.functional import has_avx512bf16

    return bool(has_avx512bf16())


def requests(*names: str | None) -> list[Generation]:
    return [Generation((Message("user", text),), name, 16) for text in TEXTS for name in names]


@pytest.mark.parametrize("precision", list(Precision))
def test_each_precision_loads_generates_and_routes(
    precision: Precision, base: Base, folders: dict[str, Path], open_tiny: Callable[..., LocalEngine]
) -> None:
    """Weighing is close to fp32; generation is deterministic, and adapters are routed as they are on the full base."""
    engine = open_tiny(base, precision)
    assert (engine.loaded.precision, engine.loaded.compute) == (precision, KINDS[precision])
    for name in ("ada", "bob"):
        engine.load_adapter(name, folders[name])
    mixed = requests(None, "ada", "bob")
    replies = engine.generate(mixed)
    assert replies == engine.generate(mixed)
    for text_replies in zip(replies[::3], replies[1::3], replies[2::3], strict=True):
        assert len({reply.text for reply in text_replies}) == 3


@pytest.mark.parametrize(("precision", "worst"), [(Precision.BF16, 0.05), (Precision.INT8, 0.05), (Precision.NF4, 0.5)])
def test_quantized_scores_stay_near_those_of_fp32(
    precision: Precision,
    worst: float,
    base: Base,
    folders: dict[str, Path],
    engine: LocalEngine,
    open_tiny: Callable[..., LocalEngine],
) -> None:
    """In nats a token. The adapter moves one of the replies by far more (the last line), so a wrong route cannot hide here."""
    other = open_tiny(base, precision)
    other.load_adapter("ada", folders["ada"])

    def mean(engine: LocalEngine, name: str | None) -> list[float]:
        asked = [ChoiceRequest((Message("user", text),), ("the north quay",), name) for text in TEXTS]
        length = len(engine.tokens.reply("the north quay"))
        return [row[0] / length for row in engine.reply_logprobs(asked)]

    for name in (None, "ada"):
        differences = [abs(a - b) for a, b in zip(mean(other, name), mean(engine, name), strict=True)]
        assert max(differences) < worst
    moved = [abs(a - b) for a, b in zip(mean(engine, "ada"), mean(engine, None), strict=True)]
    assert max(moved) > 1.0


def test_a_batch_on_a_4_bit_base_equals_each_alone(
    base: Base, folders: dict[str, Path], open_tiny: Callable[..., LocalEngine]
) -> None:
    """Not so in int8: LLM.int8 (arXiv 2208.07339) picks outlier columns over all rows of a batch, which moves each a little."""
    engine = open_tiny(base, Precision.NF4)
    engine.load_adapter("ada", folders["ada"])
    mixed = requests(None, "ada")
    assert engine.generate(mixed) == [engine.generate([request])[0] for request in mixed]


def _lora_gradients(model: Any) -> dict[str, float]:
    """Gradient norm of each LoRA parameter after one backward pass in training mode."""
    import torch

    model.train()
    model.zero_grad()
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return {n: 0.0 if p.grad is None else float(p.grad.norm()) for n, p in model.named_parameters() if p.requires_grad}


def _evaluate(model: Any) -> None:
    import torch

    model.eval()
    with torch.no_grad():
        model(input_ids=torch.tensor([[5, 6, 7]]), use_cache=False)


@pytest.fixture
def trainable(base: Base) -> Any:
    """A fresh LoRA on the NF4 base; its A matrices get no gradient while B is zero, so B is made random."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    loaded = load_weights(base, precision=Precision.NF4, compute="float32", device="cpu")
    model = get_peft_model(loaded.model, LoraConfig(r=4, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_gradients_pass_after_an_evaluation(trainable: Any) -> None:
    """All of them, and the same as before it: a repacked layer would stop those of the layers below it, silently."""
    assert keep_gradients(trainable) == 14  # seven linear layers in each of two blocks; the head stays whole
    before = _lora_gradients(trainable)
    _evaluate(trainable)
    after = _lora_gradients(trainable)
    assert len(after) == 28
    assert min(after.values()) > 0
    assert after == pytest.approx(before, rel=1e-4)


def test_keeping_gradients_is_what_keeps_the_weights_from_being_packed(trainable: Any) -> None:
    def packed() -> int:
        states = [getattr(p, "quant_state", None) for p in trainable.parameters()]
        return sum(bool(getattr(state, "packing_format_for_cpu", False)) for state in states)

    layers = [m for m in trainable.modules() if hasattr(m, "support_avx512bf16_for_cpu")]
    assert keep_gradients(trainable) == 14
    assert [m.support_avx512bf16_for_cpu for m in layers] == [False] * 14
    _evaluate(trainable)
    assert packed() == 0
    if not packs():
        pytest.skip("this processor lacks AVX512-BF16, so bitsandbytes packs nothing here; the flag was checked")
    for layer in layers:
        layer.support_avx512bf16_for_cpu = True
    _evaluate(trainable)
    assert packed() == 14


def test_reading_the_state_of_a_packed_model_leaves_it_as_it_was(base: Base) -> None:
    import torch

    model = load_weights(base, precision=Precision.NF4, compute="float32", device="cpu").model
    ids = torch.tensor([[5, 6, 7, 8]])

    def logits() -> Any:
        with torch.no_grad():
            return model(input_ids=ids, use_cache=False).logits

    first = logits()
    with packed_weights_kept(model):
        model.state_dict()
    assert torch.equal(logits(), first)


def test_full_precision_layers_have_nothing_to_keep(base: Base) -> None:
    assert keep_gradients(load_weights(base, precision=Precision.FP32, device="cpu").model) == 0


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 64), "does not load from"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "no-such-model"}'), "does not load from"),
        (lambda folder: (folder / "config.json").write_text("{"), "does not load from"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "does not load from"),
    ],
)
def test_a_base_that_does_not_load_is_one_line(base: Base, tmp_path: Path, damage: Callable[[Path], object], reason: str) -> None:
    import shutil

    folder = Path(shutil.copytree(base.location, tmp_path / "copy"))
    damage(folder)
    with pytest.raises(BaseError, match=reason) as caught:
        load_weights(Base("mine", str(folder), "0" * 16), precision=Precision.FP32, device="cpu")
    assert "base 'mine'" in str(caught.value) and "\n" not in str(caught.value)


def _with_amx(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    monkeypatch.setattr(weights, "detect", lambda: Processor("a processor", 2, flags))


def test_a_small_4_bit_base_is_held_in_bfloat16_where_amx_multiplies(
    base: Base, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same values: what training sees of the 4-bit weights, so replies weigh what they weighed."""
    from bitsandbytes.functional import dequantize_4bit

    _with_amx(monkeypatch, "amx_bf16")
    kept, held = (load_weights(base, precision=Precision.NF4, compute="bfloat16", device="cpu") for _ in range(2))
    layer = kept.model.model.layers[0].mlp.up_proj
    values = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    assert hold_dequantized(held)
    now = held.model.model.layers[0].mlp.up_proj.weight
    assert now.dtype is values.dtype and bool((now == values).all()) and not now.requires_grad
    scores = []
    for loaded in (kept, held):
        engine = LocalEngine(loaded)
        engine.load_adapter("ada", folders["ada"])
        asked = [ChoiceRequest((Message("user", text),), ("the north quay",), name) for text in TEXTS for name in (None, "ada")]
        scores.append([row[0] / len(engine.tokens.reply("the north quay")) for row in engine.reply_logprobs(asked)])
    assert max(abs(a - b) for a, b in zip(*scores, strict=True)) < 0.1


def test_otherwise_4_bit_weights_stay_so(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_amx(monkeypatch, "avx512_bf16")
    loaded = load_weights(base, precision=Precision.NF4, compute="bfloat16", device="cpu")
    assert not hold_dequantized(loaded)
    _with_amx(monkeypatch, "amx_bf16")
    assert not hold_dequantized(dataclasses.replace(loaded, compute="float32"))
    assert not hold_dequantized(dataclasses.replace(loaded, precision=Precision.INT8))
    monkeypatch.setattr(weights, "HELD_BYTES", 1000)
    assert not hold_dequantized(loaded)
    assert loaded.model.model.layers[0].mlp.up_proj.weight.quant_state is not None
