"""Estimates against what a real pass keeps, a formula worked by hand, and sums done here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import ConfigError, DataError, TrainingError
from lorag.pipeline.records import Role
from lorag.training.contrastive import Encoder
from lorag.training.dataset import DataFolder
from lorag.training.estimate import columns_of, plan_training, scored
from lorag.training.estimate_memory import (
    GIB,
    HEAP,
    HEAP_LIMIT,
    LIBRARIES,
    MIB,
    EncoderPass,
    SftPass,
    SftSettings,
    base_bytes,
    contrastive_memory,
    read_size,
    sft_memory,
    show_size,
)
from lorag.training.estimate_time import Geometry, operations
from lorag.training.estimate_trace import Traced, trace_encoder, trace_generation
from lorag.training.packing import IGNORED
from lorag.training.passage_search import plain_retrieval
from lorag.training.recipe import changed, parse_recipe
from lorag.training.recipe_parts import GenerationLora, LoraShape
from lorag.training.run import TrainingRun

HIDDEN, INNER, LAYERS, HEADS, GROUPS, VOCABULARY = 64, 128, 2, 4, 2, 384
"""Those of the tiny base."""

TRACED = Traced(
    parameters=1000,
    trainable=100,
    linear=640,
    linear_outputs=20,
    widest=64,
    weight_copies=10,
    saved_tensors=(1000, 500),
    layer_inputs=200,
    widest_layer=600,
    in_layers=1200,
)


def kept_by(model: Any, read: Any, *, mixed: bool) -> int:
    """Bytes that a real forward pass keeps beside the model's own tensors."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    held: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if tensor.untyped_storage()._cdata not in own:
            held[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        read()
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


@pytest.mark.parametrize("compute", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    "shape", [GenerationLora(rank=4, alpha=8, **more) for more in ({}, {"dropout": 0.1}, {"dora": True})], ids=repr
)
def test_what_a_row_keeps_is_what_a_real_pass_keeps(tiny_base: Path, shape: GenerationLora, compute: str) -> None:
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from lorag.training.attention import use_lean_attention
    from lorag.training.lora_options import lora_config

    tokens = 40
    model = AutoModelForCausalLM.from_pretrained(str(tiny_base), dtype=getattr(torch, compute))
    use_lean_attention(model)
    tuned = get_peft_model(model, lora_config(shape)).train()
    for module in tuned.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
    ids = torch.zeros(1, tokens, dtype=torch.long)
    mask = torch.zeros(1, 1, tokens, tokens, dtype=model.dtype)
    real = kept_by(
        tuned,
        lambda: tuned(input_ids=ids, attention_mask=mask, position_ids=ids, use_cache=False, logits_to_keep=1),
        mixed=compute == "bfloat16",
    )
    traced = trace_generation(str(tiny_base), shape, tokens, compute, "cpu")
    assert sum(traced.saved_tensors) + traced.weight_copies == real
    assert traced.trainable == sum(p.numel() for p in tuned.parameters() if p.requires_grad)
    assert traced.parameters == model.num_parameters() - traced.trainable or traced.parameters == sum(
        p.numel() for p in tuned.get_base_model().parameters() if not p.requires_grad
    )


def test_a_llama_keeps_what_a_formula_worked_by_hand_says(tiny_base: Path) -> None:
    tokens, rank = 40, 4
    traced = trace_generation(str(tiny_base), GenerationLora(rank=rank, alpha=8), tokens, "bfloat16", "cpu")
    # Per token and layer, in bytes: two norms keep their float32 input and their output (2 · (4 + 2) · hidden) and one float32
    # scale each; attention its query, repeated key and value, and its output (4 · 2 · hidden), and a weight of each head for each
    # token (2 · heads · tokens); the MLP gate, its activation, up and their product (4 · 2 · inner); LoRA the output of seven As.
    layer = 12 * HIDDEN + 2 * 4 + 8 * HIDDEN + 2 * HEADS * tokens + 8 * INNER + 2 * 7 * rank
    rest = sum(traced.saved_tensors) - LAYERS * layer * tokens
    assert 0 <= rest <= 12 * HIDDEN * tokens  # the last norm, and rotations of positions
    assert traced.linear == LAYERS * (2 * HIDDEN * HIDDEN + 2 * HIDDEN * HIDDEN * GROUPS // HEADS + 3 * HIDDEN * INNER)
    assert traced.layer_inputs == LAYERS * 2 * HIDDEN * tokens


def test_an_encoder_keeps_what_a_real_pass_keeps(tiny_encoder: Path) -> None:
    import torch
    from peft import get_peft_model
    from transformers import AutoModel

    from lorag.training.lora_options import lora_config

    shape, rows, tokens = LoraShape(rank=4, alpha=8, targets=("query", "value")), 3, 20
    config = lora_config(shape)
    config.task_type = "FEATURE_EXTRACTION"
    tuned = get_peft_model(AutoModel.from_pretrained(str(tiny_encoder)), config).train()
    ids = torch.zeros(rows, tokens, dtype=torch.long)
    real = kept_by(tuned, lambda: tuned(input_ids=ids, attention_mask=torch.ones_like(ids)), mixed=True)
    traced = trace_encoder(str(tiny_encoder), shape, rows, tokens, "bfloat16")
    assert sum(traced.saved_tensors) + traced.weight_copies == pytest.approx(real, rel=0.01)  # the mask's own shape differs


@pytest.mark.parametrize(
    ("precision", "compute", "stored", "on_cpu", "expected"),
    [
        (Precision.BF16, "bfloat16", "bfloat16", True, 2000),
        (Precision.FP32, "float32", "bfloat16", True, 4000),
        # 640 · (½ + 4/64) quantized, and the file of 1,000 · 2 that stays mapped for the 360 that are used as they stand.
        (Precision.NF4, "bfloat16", "bfloat16", True, 2360),
        (Precision.NF4, "float32", "bfloat16", True, 360 * 4 + 360),
        # Double quantization: 640 · (½ + (1 + 4/256) / 64) = 330.2
        (Precision.NF4, "bfloat16", "bfloat16", False, 360 * 2 + 331),
        (Precision.INT8, "bfloat16", "bfloat16", False, 360 * 2 + 640 + 4 * 20),
    ],
)
def test_the_bases_weights(precision: Precision, compute: str, stored: str, on_cpu: bool, expected: int) -> None:
    assert base_bytes(TRACED, precision, compute, stored, on_cpu=on_cpu) == expected


def test_the_parts_of_a_supervised_run() -> None:
    setting = SftSettings(Precision.BF16, "bfloat16", "cpu", "bfloat16")
    memory = sft_memory(TRACED, SftPass(rows=2, scored=6, vocabulary=50), setting)
    assert memory.parts() == {
        "libraries": LIBRARIES["sft"],
        "base": 2000,
        "adapter": 100 * (4 + 4 + 8),
        "activations": int(2 * 1000 * HEAP["sft"] + 2 * 500 * HEAP["sft"] + 10 * HEAP["sft"]),
        "logits": 6 * 50 * (3 * 4 + 2),
        "workspace": 2 * 2 * 1000,
    }
    assert memory.total == sum(memory.parts().values()) - min(memory.logits, memory.workspace)
    gpu = sft_memory(TRACED, SftPass(2, 6, 50), SftSettings(Precision.BF16, "bfloat16", "cuda", "bfloat16", True, True))
    assert gpu.adapter == 100 * (4 + 4 + 2)
    assert gpu.activations == int(2 * ((1510 - 1200) + 200 + 600) * 1.10)


def test_large_tensors_leave_no_holes_in_the_heap() -> None:
    setting = SftSettings(Precision.BF16, "bfloat16", "cpu", "bfloat16")
    rows = HEAP_LIMIT // 1000 + 1
    assert sft_memory(TRACED, SftPass(rows, 0, 50), setting).activations == int(
        rows * 1000 + rows * 500 * HEAP["sft"] + 10 * HEAP["sft"]
    )


def test_an_encoder_keeps_by_tokens_and_copies_weights_in_each_pass() -> None:
    memory = contrastive_memory(TRACED, EncoderPass(tokens=60, passes=3, traced_tokens=20), stored="float32", device="cpu")
    assert memory.activations == int((1500 * 3 + 10 * 3) * HEAP["contrastive"])
    assert memory.base == 4000
    again = contrastive_memory(TRACED, EncoderPass(60, 3, 20), stored="float32", device="cpu", recomputed=True)
    assert again.activations == int(((1510 - 1200 + 200) * 3 + 600) * HEAP["contrastive"])


def test_logits_are_counted_in_each_column_with_a_target() -> None:
    rows = [{"input_ids": [1] * 4, "labels": [IGNORED, IGNORED, 5, 6]}, {"input_ids": [1] * 3, "labels": [IGNORED, 5, 6]}]
    assert scored(rows) == 2 * 3  # columns 1, 2, 3 in both rows


def test_operations_of_frozen_matrices_adapter_attention_and_logits() -> None:
    geometry = Geometry(layers=2, hidden=8, intermediate=16, vocabulary=50)
    done = operations(TRACED, geometry, tokens=10, length=5, scored=3, recomputed=False)
    assert done == 4 * 640 * 10 + 12 * 2 * 8 * 5 * 10 + 6 * 100 * 10 + 4 * 50 * 8 * 3
    again = operations(TRACED, geometry, tokens=10, length=5, scored=3, recomputed=True)
    assert again - done == 2 * 640 * 10 + 4 * 2 * 8 * 5 * 10 + 2 * 100 * 10


@pytest.mark.parametrize(
    ("text", "size"),
    [("6GiB", 6 * GIB), ("1.5 GiB", 3 * GIB // 2), ("900MB", 900_000_000), ("8G", 8 * GIB), ("512MiB", 512 * MIB), ("77", 77)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-2GiB", "0GiB", "6 GiB or so"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="such as 6GiB"):
        read_size(text)


def test_sizes_are_shown() -> None:
    assert [show_size(n) for n in (3 * GIB // 2, 300 * MIB)] == ["1.50 GiB", "300 MiB"]


WORDS = ("key", "bell", "ferry", "quay", "room", "porter", "crane", "buoy")


@pytest.fixture
def job(tmp_path: Path, tiny_base: Path, tiny_encoder: Path) -> Any:
    """`job(role, recipe)`: rows for the rewriter and the embedder. All that may be written to lies apart from them."""
    data = tmp_path / "data"
    rows: dict[str, list[dict[str, object]]] = {
        "rewriter": [
            {
                "id": f"{word}-{number}",
                "history": [f"User: Where is the {word}?", "Assistant: Here." * (number + 1)],
                "question": "And at night?",
                "rewrite": f"Where is the {word} at night?",
            }
            for number, word in enumerate(WORDS)
        ],
        "embedder": [{"query_id": word, "query": f"Where is the {word}?", "positive_ids": [f"{word}#0"]} for word in WORDS],
    }
    (data / "train").mkdir(parents=True, exist_ok=True)
    for name, lines in rows.items():
        (data / "train" / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    held_out = {
        "rewriter": {"id": "d", "history": ["User: Who rows?"], "question": "And on Sundays?", "rewrite": "Who rows on Sundays?"},
        "embedder": {"query_id": "d", "query": "Who rows on Sundays?", "positive_ids": ["dev#0"]},
    }
    (data / "dev").mkdir()
    for name, line in held_out.items():
        (data / "dev" / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    passages = [{"id": f"{word}#0", "title": "", "text": f"The {word} is here. " * (n + 1)} for n, word in enumerate(WORDS)]
    passages.append({"id": "dev#0", "title": "", "text": "On Sundays nobody rows."})
    (data / "passages.jsonl").write_text("".join(json.dumps(passage) + "\n" for passage in passages))

    def make(role: Role, recipe: dict[str, Any]) -> TrainingRun:
        read = parse_recipe({"role": role.value, **recipe})
        return TrainingRun(
            role=role,
            data=DataFolder(data, {}),
            recipe=read,
            base=str(tiny_base),
            base_device="auto",
            encoder=Encoder(str(tiny_encoder)),
            registry=Registry(tmp_path / "adapters"),
            run_folder=tmp_path / "run",
            retrieval=plain_retrieval(str(tiny_encoder), 2),
            resume=False,
            on_progress=None,
            on_notice=None,
            continuation=None,
        )

    return make


REWRITER = {"precision": "fp32", "lora": {"rank": 4}, "optimiser": {"batch_size": 4, "accumulate": 2, "epochs": 3}}


def test_a_plan_counts_rows_steps_and_parameters_and_writes_nothing(job, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan = plan_training(job(Role.REWRITER, REWRITER))
    assert sorted(tmp_path.rglob("*")) == before
    assert (plan.rows, plan.steps, plan.batch, plan.accumulate) == (8, 3, 4, 2)
    kv = HIDDEN * GROUPS // HEADS
    sides = 2 * (HIDDEN + HIDDEN) + 2 * (HIDDEN + kv) + 3 * (HIDDEN + INNER)  # q, o; k, v; gate, up, down
    assert plan.trainable == LAYERS * 4 * sides
    assert plan.tokens > plan.rows * 20
    assert plan.seconds > 0
    assert plan.memory.total > LIBRARIES["sft"]


def test_batches_are_cut_to_the_memory_and_a_step_keeps_its_rows(job) -> None:
    wide = plan_training(job(Role.REWRITER, REWRITER), 64 * GIB)
    assert (wide.batch, wide.accumulate) == (8, 1)
    by_size = {n: plan_training(job(Role.REWRITER, {**REWRITER, "optimiser": {"batch_size": n}})).memory.total for n in (1, 2, 4)}
    assert by_size[1] < by_size[2] < by_size[4] < wide.memory.total
    cut = plan_training(job(Role.REWRITER, REWRITER), by_size[2])
    assert (cut.recipe.optimiser.batch_size, cut.recipe.optimiser.accumulate) == (2, 4)
    assert cut.memory.total <= by_size[2]
    assert cut.steps == wide.steps
    with pytest.raises(TrainingError, match=rf"micro-batches of 1 the run needs about {show_size(by_size[1])}"):
        plan_training(job(Role.REWRITER, REWRITER), by_size[1] - MIB)


@pytest.mark.parametrize(
    ("role", "targets", "message"),
    [
        (Role.REWRITER, ["q_proj", "v_porj"], "targets 'v_porj': .* has no such module; it has down_proj, gate_proj, k_proj"),
        (Role.REWRITER, ["q_proj", "embed_tokens"], "targets 'embed_tokens': model.embed_tokens of .* is no linear layer"),
        (Role.REWRITER, ["lm_head"], "targets 'lm_head': lm_head of .* is no linear layer below the output"),
        (Role.REWRITER, ["input_layernorm"], "targets 'input_layernorm': .* is no linear layer"),
        (Role.EMBEDDER, ["query", "vlaue"], "targets 'vlaue': .* has no such module; it has dense, key, query, value"),
        (Role.EMBEDDER, ["LayerNorm"], "targets 'LayerNorm': .* is no linear layer"),
    ],
)
def test_targets_that_the_model_does_not_have_are_refused_by_the_plan(job, role: Role, targets: list[str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        plan_training(job(role, {**(REWRITER if role is Role.REWRITER else EMBEDDER), "lora": {"rank": 4, "targets": targets}}))


def test_what_an_adapter_is_proved_on_is_looked_at_by_the_plan(job) -> None:
    made = job(Role.REWRITER, REWRITER)
    held_out = made.data.folder / "dev" / "rewriter.jsonl"
    row = json.loads(held_out.read_text())
    held_out.write_text(json.dumps({**row, "rewrite": "Who rows? " * 4000}) + "\n")
    with pytest.raises(DataError, match=r"none of the 1 held-out rows .* fits the \d+ tokens of .*; d has \d{4,}"):
        plan_training(made)
    for role, recipe in ((Role.REWRITER, REWRITER), (Role.EMBEDDER, EMBEDDER)):
        made = job(role, recipe)
        (made.data.folder / "dev" / f"{role.value}.jsonl").unlink()
        with pytest.raises(DataError, match=f"no dev/{role.value}.jsonl"):
            plan_training(made)


EMBEDDER = {"lora": {"rank": 4, "targets": ["query", "value"]}, "optimiser": {"batch_size": 8, "epochs": 2}}


def test_an_embedders_plan(job, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {**EMBEDDER, "contrast": {"negatives_per_query": 1}}
    plan = plan_training(job(Role.EMBEDDER, recipe))
    assert (plan.rows, plan.steps, plan.micro_batch) == (8, 2, 0)
    assert plan.trainable == 2 * 2 * 4 * (32 + 32)
    cut = plan_training(job(Role.EMBEDDER, recipe), plan.memory.total - 1)
    assert 0 < cut.recipe.contrast.micro_batch == cut.micro_batch < 8
    assert cut.memory.total < plan.memory.total
    with pytest.raises(TrainingError, match="query_side_only reads its batch of 8 at once"):
        plan_training(job(Role.EMBEDDER, {**EMBEDDER, "contrast": {"query_side_only": True}}), MIB)


@pytest.mark.parametrize(("on_gpu", "compute"), [(True, "bfloat16"), (False, "float32")])
def test_an_encoder_on_a_gpu_is_planned_in_the_gpus_type_not_in_the_processors(
    job, monkeypatch: pytest.MonkeyPatch, on_gpu: bool, compute: str
) -> None:
    monkeypatch.setattr("lorag.training.estimate.resolve_device", lambda requested: "cuda:0")
    monkeypatch.setattr("lorag.training.estimate.measure_rate", lambda *shape: 1e12)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: on_gpu)
    plan = plan_training(job(Role.EMBEDDER, EMBEDDER))
    assert (plan.device, plan.compute) == ("cuda:0", compute)


def test_a_recipe_that_says_nothing_of_the_loss_is_cut_too(job) -> None:
    made = job(Role.EMBEDDER, EMBEDDER)
    whole = plan_training(made)
    cut = plan_training(made, whole.memory.total - 1)
    assert cut.memory.total < whole.memory.total
    assert 0 < cut.recipe.contrast.micro_batch == cut.micro_batch < 8
    assert cut.recipe == changed(made.recipe, micro_batch=cut.micro_batch)


def test_an_encoders_columns_hold_the_longest_texts_first(job) -> None:
    made = job(Role.EMBEDDER, {**EMBEDDER, "optimiser": {"max_length": 64}, "contrast": {"negatives_per_query": 2}})
    rows, passages = list(made.data.embed_rows("train")), list(made.data.training_passages().values())
    queries, positives, *negatives = columns_of(rows, passages, made.encoder.model, made.recipe)
    assert positives == sorted(positives, reverse=True)
    assert positives[0] == 64 > positives[-1]  # the recipe's limit
    assert len(queries) == len(WORDS)
    assert negatives == [positives, positives]
