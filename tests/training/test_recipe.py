"""Recipes: the bundled ones, every mistake in one message, and that each setting arrives in the run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.engine.weights import Precision
from pipeline.errors import ConfigError
from pipeline.records import Role
from training.contrastive import ContrastiveSettings
from training.data.negatives import Negatives
from training.recipe import GENERATION_ROLES, Recipe, bundled_recipe, load_recipe
from training.sft import SftSettings

TRAINED = (*GENERATION_ROLES, Role.EMBEDDER)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


@pytest.mark.parametrize("role", TRAINED)
def test_bundled_recipes_load(role: Role) -> None:
    recipe = load_recipe(role)
    assert recipe.role == role.value
    assert (recipe.lora.rank, recipe.lora.targets) == (16, "all-linear")
    assert (recipe.contrast is not None) == (role is Role.EMBEDDER)
    if role is not Role.EMBEDDER:
        assert recipe.sft().precision is Precision.NF4  # QLoRA
        assert recipe.optimiser.batch_size * recipe.optimiser.accumulate == 4
        assert 1e-3 <= recipe.optimiser.learning_rate <= 2e-3


def test_a_role_without_a_recipe() -> None:
    with pytest.raises(ConfigError, match="no bundled recipe for the questioner; give one with --recipe FILE"):
        bundled_recipe(Role.QUESTIONER)


def test_only_the_role_is_needed(recipe_file: Path) -> None:
    recipe_file.write_text("role: judge\n")
    assert load_recipe(Role.JUDGE, recipe_file).sft() == SftSettings()


def test_every_setting_of_a_supervised_run_arrives(recipe_file: Path) -> None:
    recipe_file.write_text(
        "role: rewriter\nprecision: bf16\ncompute: float32\n"
        "lora: {rank: 4, alpha: 9, dropout: 0.2, targets: [q_proj, v_proj]}\n"
        "optimiser: {learning_rate: 0.003, warmup_share: 0.2, weight_decay: 0.01, batch_size: 7, accumulate: 3, epochs: 1.5,\n"
        "            max_steps: 11, max_length: 99, pack_tokens: 98, checkpoint_every: 5, seed: 6}\n"
    )
    settings = load_recipe(Role.REWRITER, recipe_file).sft()
    assert settings == SftSettings(
        rank=4,
        alpha=9,
        dropout=0.2,
        targets=("q_proj", "v_proj"),
        learning_rate=0.003,
        warmup_share=0.2,
        weight_decay=0.01,
        batch_size=7,
        accumulate=3,
        epochs=1.5,
        max_steps=11,
        max_length=99,
        pack_tokens=98,
        checkpoint_every=5,
        seed=6,
        precision=Precision.BF16,
        compute="float32",
    )
    untouched = [f.name for f in fields(SftSettings) if getattr(settings, f.name) == getattr(SftSettings(), f.name)]
    assert untouched == []


def test_every_setting_of_a_contrastive_run_arrives(recipe_file: Path) -> None:
    recipe_file.write_text(
        "role: embedder\n"
        "lora: {rank: 4, alpha: 9, dropout: 0.2, targets: [query]}\n"
        "optimiser: {learning_rate: 0.003, warmup_share: 0.2, weight_decay: 0.01, batch_size: 7, epochs: 1.5,\n"
        "            max_steps: 11, max_length: 99, checkpoint_every: 5, seed: 6}\n"
        "contrast: {negatives: random, negatives_per_query: 3, relative_margin: 0.9, scale: 10, query_side_only: true}\n"
    )
    settings = load_recipe(Role.EMBEDDER, recipe_file).contrastive("m")
    assert settings == ContrastiveSettings(
        model="m",
        rank=4,
        alpha=9,
        dropout=0.2,
        targets=("query",),
        learning_rate=0.003,
        warmup_share=0.2,
        weight_decay=0.01,
        batch_size=7,
        epochs=1.5,
        max_steps=11,
        max_length=99,
        checkpoint_every=5,
        seed=6,
        negatives=Negatives.RANDOM,
        negatives_per_query=3,
        relative_margin=0.9,
        scale=10.0,
        query_side_only=True,
    )


def test_all_problems_of_a_file_in_one_message(recipe_file: Path) -> None:
    recipe_file.write_text(
        "role: rewriter\nprecision: nf5\nlora:\n  rank: 0\n  alpah: 3\n  dropout: 1.0\n"
        "optimiser:\n  learning_rate: fast\n  epochs: -1\n  batch_size: 2.5\nextra: 1\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_recipe(Role.REWRITER, recipe_file)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{recipe_file}: 8 problems"
    assert [line.partition(": ")[0].strip() + " " + line.partition(": ")[2].partition(":")[0] for line in lines] == [
        "line 2 precision",
        "line 4 lora.rank",
        "line 5 lora.alpah",
        "line 6 lora.dropout",
        "line 8 optimiser.learning_rate",
        "line 9 optimiser.epochs",
        "line 10 optimiser.batch_size",
        "line 11 extra",
    ]
    assert "did you mean 'alpha'?" in lines[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold `key: value` lines"),
        ("- role\n", "must hold `key: value` lines"),
        ("role: [\n", "broken YAML"),
        ("role: judge\nrole: rewriter\n", "role: given twice, first on line 1"),
        ("precision: nf4\n", "role: is missing; add it"),
        ("role: painter\n", "role: must be one of rewriter, embedder, synthesizer, judge"),
        ("role: judge\n", "is a recipe of the judge, not of the rewriter; give that role's recipe"),
        ("role: rewriter\ncontrast: {}\n", "`contrast` belongs to the embedder; remove it"),
        ("role: rewriter\nlora: {rank: '16'}\n", "lora.rank: must be a whole number"),
        ("role: rewriter\nlora: {targets: everything}\n", "lora.targets"),
        ("role: rewriter\nlora:\n", "lora: must be a group"),
        ("role: rewriter\noptimiser: {learning_rate: .nan}\n", "optimiser.learning_rate"),
        ("role: rewriter\noptimiser: {learning_rate: 1.0}\n", "optimiser.learning_rate"),
        ("role: rewriter\noptimiser: {epochs: .inf}\n", "optimiser.epochs"),
        ("role: rewriter\ndata: {missing_gold: 1.0}\n", "data.missing_gold"),
        ("role: rewriter\ndata: {shuffled: 1.5}\n", "data.shuffled"),
    ],
)
def test_a_recipe_that_cannot_be_used(text: str, message: str, recipe_file: Path) -> None:
    recipe_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(Role.REWRITER, recipe_file)
    assert message in str(caught.value) and str(recipe_file) in str(caught.value)


def test_an_exponent_without_a_dot_is_refused_with_its_line(recipe_file: Path) -> None:
    """YAML 1.1 takes `1e-3` for text."""
    recipe_file.write_text("role: rewriter\noptimiser:\n  learning_rate: 1e-3\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml:3: optimiser\.learning_rate: must be a number"):
        load_recipe(Role.REWRITER, recipe_file)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read(content: bytes | None, recipe_file: Path) -> None:
    if content is not None:
        recipe_file.write_bytes(content)
    with pytest.raises(ConfigError, match="the recipe cannot be read") as caught:
        load_recipe(Role.REWRITER, recipe_file)
    assert "\n" not in str(caught.value)


def test_length_0_is_the_encoders_own_limit_and_none_for_a_base() -> None:
    recipe = Recipe.model_validate({"role": "embedder", "optimiser": {"max_length": 0}})
    assert recipe.contrastive("m").max_length == 0
    assert recipe.sft().max_length == 8192
