"""rsLoRA, DoRA, PiSSA, LoftQ and activated LoRA: each is trained, published, proven and served on a base that stays as it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.card import read_card
from lorag.pipeline.adapters.inspection import inspect_folder
from lorag.pipeline.adapters.model_card import write_model_card
from lorag.pipeline.adapters.proof import load_proven
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.tokens import ChatTokens
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.errors import AdapterError, TrainingError
from lorag.pipeline.records import Message, Role
from lorag.training.lora_options import as_difference, initialise, lora_config, require_possible
from lorag.training.publish import data_facts, publish_generation
from lorag.training.recipe import GenerationRecipe, RewriterRecipe, changed
from lorag.training.recipe_parts import GenerationLora, Init
from lorag.training.sft import Example, TrainedAdapter, train_adapter

PAIRS = (
    ("Where does the ferry leave?", "From the north quay."),
    ("Who keeps the key?", "The porter, in room 4."),
    ("And at night?", "Ring the bell twice."),
)
EXAMPLES = [Example(f"row {n}", (Message("user", question),), reply) for n, (question, reply) in enumerate(PAIRS)]
SETTINGS = changed(
    RewriterRecipe(role="rewriter"),
    rank=8,
    alpha=16,
    learning_rate=1e-2,
    batch_size=3,
    max_steps=24,
    checkpoint_every=100,
    precision=Precision.FP32,
    compute="float32",
)


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return dataclasses.replace(resolve_base(str(tiny_base)), id="tiny")


def trained(base: Base, folder: Path, **options: Any) -> tuple[GenerationRecipe, TrainedAdapter]:
    settings = changed(SETTINGS, **options)
    return settings, train_adapter(EXAMPLES, base, settings, folder)


CASES: list[dict[str, Any]] = [
    {"rslora": True},
    {"dora": True},
    {"init": Init.PISSA},
    {"init": Init.PISSA, "rslora": True, "dora": True},
    {"activated": True, "rslora": True},
    {"activated": True, "init": Init.PISSA},
    {"dora": True, "precision": Precision.NF4},
    {"init": Init.PISSA, "precision": Precision.NF4},
    {"init": Init.LOFTQ, "precision": Precision.NF4, "rslora": True},
    {"init": Init.LOFTQ, "precision": Precision.INT8},
    {"activated": True, "precision": Precision.NF4},
]


@pytest.mark.parametrize("options", CASES, ids=lambda case: " ".join(str(value) for value in case.values()) + str(list(case)))
def test_it_is_trained_published_proven_and_serves_what_it_learnt(options: dict[str, Any], base: Base, tmp_path: Path) -> None:
    settings, run = trained(base, tmp_path / "run", **options)
    assert run.losses[-1][1] < 0.35 * run.losses[0][1]
    registry = Registry(tmp_path / "adapters")
    facts = data_facts("ferry", {}, {"train": 3}, 3)
    version = publish_generation(registry, Role.REWRITER, base, settings, run, facts, EXAMPLES)
    engine = LocalEngine(load_weights(base, precision=settings.precision, compute="float32", device="cpu"))
    bare = engine.generate([Generation(each.messages, None, 12) for each in EXAMPLES])  # packs a 4-bit base where that is done
    card = load_proven(engine, "tuned", version.folder, base, role=Role.REWRITER)
    kind = card.lora.kind
    assert kind is not None and (kind.rslora, kind.dora) == (
        settings.lora.rslora and settings.lora.init is not Init.PISSA,
        settings.lora.dora,
    )
    assert kind.init == settings.lora.init.value and bool(kind.invocation) == settings.lora.activated
    assert str(kind) in write_model_card(read_card(version.folder)) and str(kind)
    asked = [Generation(each.messages, "tuned", 24) for each in EXAMPLES]
    if settings.precision is Precision.FP32:
        assert [reply.text for reply in engine.generate(asked)] == [each.target for each in EXAMPLES]
    mixed = [request for each in EXAMPLES for request in (asked[EXAMPLES.index(each)], Generation(each.messages, None, 12))]
    replies = engine.generate(mixed)
    assert [reply.text for reply in replies[1::2]] == [reply.text for reply in bare]
    right = sum(reply.text == each.target for reply, each in zip(replies[0::2], EXAMPLES, strict=True))
    assert right == 3 if settings.precision is Precision.FP32 else right >= 2


def test_pissa_learns_what_pefts_own_does_which_changes_the_base(base: Base, tmp_path: Path) -> None:
    """peft's `init_lora_weights="pissa"`, trained by hand on the same batches, is the reference."""
    import torch
    from peft import LoraConfig, get_peft_model

    settings, run = trained(base, tmp_path, init=Init.PISSA, max_steps=6, warmup_share=0.0, learning_rate=3e-3)
    model = load_weights(base, precision=Precision.FP32, device="cpu").model
    untouched = {name: value.clone() for name, value in model.state_dict().items()}
    config = LoraConfig(
        r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", init_lora_weights="pissa", task_type="CAUSAL_LM"
    )
    peft: Any = get_peft_model(model, config)
    tokens = ChatTokens(load_weights(base, precision=Precision.FP32, device="cpu").tokenizer)
    optimizer = torch.optim.AdamW([p for p in peft.parameters() if p.requires_grad], lr=3e-3, weight_decay=0.0)
    losses = []
    for step in range(6):
        total, count = torch.zeros(()), 0
        for each in EXAMPLES:
            prompt, reply = tokens.prompt(each.messages), tokens.reply(each.target)
            logits = peft(input_ids=torch.tensor([prompt + reply]), use_cache=False).logits[0, len(prompt) - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(reply), reduction="sum")
            count += len(reply)
        loss = total / count
        losses.append(float(loss.detach()))
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 6)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in peft.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert [loss for _, loss in run.losses] == pytest.approx(losses, rel=2e-3)
    changed = peft.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight
    assert not torch.equal(changed, untouched["model.layers.0.self_attn.q_proj.weight"])  # which ours may not do
    facts = inspect_folder(run.folder)
    assert (facts.rank, facts.alpha) == (16, 16.0)
    assert run.trainable_parameters == facts.parameters // 2  # one half is held fast


def test_the_difference_of_two_halves_is_an_ordinary_lora_of_the_same_product() -> None:
    import torch

    torch.manual_seed(0)
    b, a = torch.randn(40, 3), torch.randn(3, 30)
    moved_b, moved_a = b + 1e-3 * torch.randn_like(b), a + 1e-3 * torch.randn_like(a)
    halves = {"x.lora_A.weight": torch.cat([moved_a, a]), "x.lora_B.weight": torch.cat([moved_b, -b], dim=1)}
    wanted = 2.0 * (moved_b.double() @ moved_a.double() - b.double() @ a.double())
    found = as_difference(halves, 2.0)
    assert {name: value.shape for name, value in found.items()} == {name: value.shape for name, value in halves.items()}

    def error(tensors: dict[str, Any], scale: float) -> float:
        b16, a16 = tensors["x.lora_B.weight"].bfloat16().double(), tensors["x.lora_A.weight"].bfloat16().double()
        return float((scale * b16 @ a16 - wanted).norm() / wanted.norm())

    assert float((found["x.lora_B.weight"].double() @ found["x.lora_A.weight"].double() - wanted).norm()) < 1e-4
    assert error(found, 1.0) < 0.01 < 0.1 < error(halves, 2.0)  # rounding the halves would lose a part of it


@pytest.mark.parametrize("precision", [Precision.NF4, Precision.INT8])
def test_loftq_starts_at_the_best_correction_of_the_quantization(precision: Precision, base: Base) -> None:
    """The product times its scale is the residual's best approximation of that rank: the rest is its smaller singular values."""
    import torch
    from peft import get_peft_model
    from peft.utils.integrations import dequantize_module_weight
    from safetensors.torch import load_file

    whole = load_file(str(Path(base.location) / "model.safetensors"))
    shape = GenerationLora(rank=4, alpha=12, rslora=True, init=Init.LOFTQ)
    model = get_peft_model(load_weights(base, precision=precision, compute="float32", device="cpu").model, lora_config(shape))
    assert initialise(model, shape, Path(base.location)) == 0
    layer = model.base_model.model.model.layers[1].mlp.up_proj
    residual = whole["model.layers.1.mlp.up_proj.weight"].float() - dequantize_module_weight(layer.base_layer).float()
    product = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    rest = torch.linalg.svdvals(residual)[4:]
    assert float((residual - product.detach()).norm()) == pytest.approx(float(rest.norm()), rel=1e-3)
    assert layer.scaling["default"] == pytest.approx(6.0)


def test_loftq_needs_the_weights_under_the_modules_names(base: Base, tmp_path: Path) -> None:
    from peft import get_peft_model

    shape = GenerationLora(rank=4, init=Init.LOFTQ)
    model = get_peft_model(load_weights(base, precision=Precision.NF4, compute="float32", device="cpu").model, lora_config(shape))
    with pytest.raises(TrainingError, match="the base's files hold no model.layers.0.self_attn.q_proj.weight"):
        initialise(model, shape, tmp_path)


def test_an_activated_adapter_leaves_the_prompt_before_its_invocation_alone(base: Base, tmp_path: Path) -> None:
    """Hidden states of the conversation are the base's, so its cache serves every adapter; replies are those of plain peft."""
    import torch
    from peft import PeftModel

    settings, run = trained(base, tmp_path, activated=True)
    loaded = load_weights(base, precision=Precision.FP32, device="cpu")
    tokens = ChatTokens(loaded.tokenizer)
    assert inspect_folder(run.folder).invocation == tuple(tokens.opening())
    prompt = tokens.prompt(EXAMPLES[0].messages)
    bare = loaded.model(torch.tensor([prompt]), output_hidden_states=True, use_cache=False).hidden_states[-1]
    tuned = PeftModel.from_pretrained(loaded.model, str(run.folder)).eval()
    states = tuned(input_ids=torch.tensor([prompt]), output_hidden_states=True, use_cache=False).hidden_states[-1]
    before = len(prompt) - len(tokens.opening())
    assert torch.equal(states[:, :before], bare[:, :before]) and not torch.allclose(states[:, before:], bare[:, before:])
    written = tuned.generate(
        input_ids=torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=24,
        do_sample=False,
    )[0, len(prompt) :]
    assert tokens.text(written.tolist()).strip() == EXAMPLES[0].target


def test_a_quantized_base_takes_one_activated_adapter(base: Base, tmp_path: Path) -> None:
    _, run = trained(base, tmp_path, activated=True, max_steps=2)
    engine = LocalEngine(load_weights(base, precision=Precision.NF4, compute="float32", device="cpu"))
    engine.load_adapter("one", run.folder)
    with pytest.raises(AdapterError, match="'one' is an activated adapter too, and a quantized base takes one"):
        engine.load_adapter("two", run.folder)
    assert engine.adapters == ("one",)


@pytest.mark.parametrize(
    ("shape", "further", "reason"),
    [
        ({"activated": True, "dora": True}, {}, "activated with dora: peft has no layer that is both"),
        ({"activated": True}, {"pack_tokens": 512}, "activated with pack_tokens: .* set pack_tokens to 0"),
        ({"activated": True, "init": Init.LOFTQ}, {}, "activated with init loftq: .* use init default"),
        ({"dora": True, "init": Init.LOFTQ}, {}, "dora with init loftq: .* use init default"),
        ({"init": Init.LOFTQ}, {"precision": Precision.BF16}, "init loftq with precision bf16: .* not quantized"),
        ({"dora": True}, {"precision": Precision.INT8}, "dora with precision int8: .* use nf4, bf16 or fp32"),
        ({"init": Init.PISSA}, {"weight_decay": 0.1}, "init pissa with weight_decay: .* set weight_decay to 0"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(shape: dict[str, Any], further: dict[str, Any], reason: str) -> None:
    with pytest.raises(TrainingError, match=reason) as error:
        given: dict[str, Any] = {"precision": Precision.NF4, "pack_tokens": 0, "weight_decay": 0.0} | further
        require_possible(GenerationLora(**shape), **given)
    assert "\n" not in str(error.value)


def test_a_refusal_comes_before_the_base_is_loaded(tmp_path: Path) -> None:
    nowhere = Base("none", str(tmp_path / "nowhere"), "")
    settings = changed(SETTINGS, activated=True, dora=True)
    with pytest.raises(TrainingError, match="peft has no layer that is both"):
        train_adapter(EXAMPLES, nowhere, settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pissa_of_a_rank_that_a_layer_has_not(base: Base, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"init pissa: rank 33 exceeds model\.layers\.0\.self_attn\.k_proj of \(32, 64\)"):
        trained(base, tmp_path, init=Init.PISSA, rank=33)
