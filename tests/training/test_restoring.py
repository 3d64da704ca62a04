"""A base that trained an adapter is given back as a fresh load is: the same weights, settings, and figures to the last bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.proof import CanarySample, record_canaries
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine, open_engine
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.weights import LoadedBase, Precision, load_weights, quantized_layers
from lorag.pipeline.records import Message
from lorag.training.recipe import RewriterRecipe, changed
from lorag.training.recipe_parts import Init
from lorag.training.sft import Example, train_adapter

PAIRS = (
    ("Where does it leave?", "From the north quay."),
    ("Who keeps the key?", "The porter."),
    ("And at night?", "Ring twice."),
)
EXAMPLES = [Example(f"row {n}", (Message("user", question),), reply) for n, (question, reply) in enumerate(PAIRS)]
RECIPE = changed(
    RewriterRecipe(role="rewriter"),
    precision=Precision.FP32,
    compute="float32",
    rank=8,
    alpha=16,
    learning_rate=1e-2,
    batch_size=3,
    accumulate=1,
    max_steps=6,
    max_length=128,
    pack_tokens=0,
    checkpoint_every=50,
)

CASES: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": Precision.BF16, "compute": "auto"},
    "nf4": {"precision": Precision.NF4},
    "nf4, computed in bf16": {"precision": Precision.NF4, "compute": "bfloat16"},
    "int8": {"precision": Precision.INT8},
    "packed": {"pack_tokens": 128, "max_steps": 12},
    "recomputed": {"gradient_checkpointing": True, "precision": Precision.NF4},
    "activated": {"activated": True},
    "dora in 4 bit": {"dora": True, "precision": Precision.NF4},
    "pissa": {"init": Init.PISSA},
    "loftq": {"init": Init.LOFTQ, "precision": Precision.NF4},
}


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return dataclasses.replace(resolve_base(str(tiny_base)), id="tiny")


def figures(engine: LocalEngine, folder: Path) -> tuple[object, ...]:
    """What a canary file would hold, and what base and adapter write."""
    engine.load_adapter("trained", folder)
    samples = [CanarySample(each.messages, each.target) for each in EXAMPLES]
    replies = engine.generate([Generation(each.messages, adapter, 12) for each in EXAMPLES for adapter in (None, "trained")])
    return record_canaries(engine, "trained", samples), [reply.text for reply in replies]


@pytest.mark.parametrize("change", CASES.values(), ids=CASES)
def test_it_is_what_a_fresh_load_gives(change: dict[str, Any], base: Base, tmp_path: Path) -> None:
    recipe = changed(RECIPE, **change)
    run = train_adapter(EXAMPLES, base, recipe, tmp_path, keep_base=True)
    again = run.base
    assert isinstance(again, LoadedBase)
    fresh = load_weights(base, precision=recipe.precision, compute=recipe.compute)
    assert again.model is not fresh.model and type(again.model) is type(fresh.model) and not again.model.training
    assert again.model.config.to_dict() == fresh.model.config.to_dict()
    assert again.model.config._attn_implementation == fresh.model.config._attn_implementation
    names = [name for name, _ in fresh.model.named_modules()]
    assert [name for name, _ in again.model.named_modules()] == names
    assert all(not getattr(module, "gradient_checkpointing", False) for module in again.model.modules())
    assert [layer.support_avx512bf16_for_cpu for layer in quantized_layers(again.model)] == [
        layer.support_avx512bf16_for_cpu for layer in quantized_layers(fresh.model)
    ]
    for (name, left), (_, right) in zip(again.model.named_parameters(), fresh.model.named_parameters(), strict=True):
        assert left.dtype == right.dtype and bool((left == right).all()), name
    assert figures(open_engine(again), run.folder) == figures(open_engine(fresh), run.folder)


def test_a_base_that_nobody_wants_back_is_not_held(base: Base, tmp_path: Path) -> None:
    assert train_adapter(EXAMPLES, base, RECIPE, tmp_path / "adapter").base is None
    assert train_adapter(EXAMPLES, base, RECIPE, tmp_path / "full", full=True, keep_base=True).base is None
