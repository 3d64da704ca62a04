"""Recipes: the bundled ones, every mistake in one message, and that each setting arrives in the run."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.tokens import ChatTokens
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import ConfigError, TrainingError
from lorag.pipeline.records import Message, Role
from lorag.training.contrastive import ContrastiveSettings
from lorag.training.data.negatives import Negatives
from lorag.training.early_stopping import Stopping
from lorag.training.lora_options import Init
from lorag.training.packing import pack
from lorag.training.recipe import GENERATION_ROLES, Recipe, bundled_names, bundled_recipe, load_recipe
from lorag.training.sft import Example, Optimizer, SftSettings, encode, train_adapter
from tests.training.families import save_base

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
        "lora: {rank: 4, alpha: 9, dropout: 0.2, targets: [q_proj, v_proj],\n"
        "       rslora: true, dora: true, init: pissa, activated: true}\n"
        "dev: {every: 7, patience: 2, items: 9, metric: EM}\nreport_to: [tensorboard]\n"
        "optimiser: {learning_rate: 0.003, warmup_share: 0.2, weight_decay: 0.01, batch_size: 7, accumulate: 3, epochs: 1.5,\n"
        "            algorithm: adamw, gradient_checkpointing: true,\n"
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
        rslora=True,
        dora=True,
        init=Init.PISSA,
        activated=True,
        optimizer=Optimizer.ADAMW,
        gradient_checkpointing=True,
        stopping=Stopping(7, 2, 9, "EM"),
        report_to=("tensorboard",),
    )
    untouched = [f.name for f in fields(SftSettings) if getattr(settings, f.name) == getattr(SftSettings(), f.name)]
    assert untouched == ["full"]  # of comparisons alone: a recipe makes an adapter


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


@pytest.mark.parametrize("role", TRAINED)
def test_every_bundled_recipe_is_found_by_its_name(role: Role, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert "qwen3" in bundled_names(role)
    for name in bundled_names(role):
        found = load_recipe(role, name)
        assert found == load_recipe(role, Path(f"{role.value}-{name}")) == load_recipe(role, bundled_recipe(role, name))
        assert found.role == role.value
    assert load_recipe(role, role.value) == load_recipe(role)
    Path("qwen3").write_text(f"role: {role.value}\noptimiser: {{seed: 77}}\n")
    assert load_recipe(role, "qwen3").optimiser.seed == 77  # a file of that name stands before the bundled one


def test_a_name_that_is_not_bundled_and_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no recipe 'qwen4' for the judge; bundled are .*qwen3.*, or give a file with --recipe"):
        load_recipe(Role.JUDGE, "qwen4")
    with pytest.raises(ConfigError, match="mine.yaml: the recipe cannot be read"):
        load_recipe(Role.JUDGE, Path("mine.yaml"))


def test_the_embedder_has_not_all_lora_options(recipe_file: Path) -> None:
    recipe_file.write_text("role: embedder\nlora: {activated: true}\n")
    with pytest.raises(ConfigError, match="init and activated are not of the embedder"):
        load_recipe(Role.EMBEDDER, recipe_file)


@pytest.fixture(scope="module")
def tiny_qwen3(tmp_path_factory: pytest.TempPathFactory) -> Base:
    texts = tuple(f"{message.content} {row.target}" for row in _rows(12) for message in row.messages)
    folder = save_base(tmp_path_factory.mktemp("qwen3"), "qwen3", texts)
    return replace(resolve_base(str(folder)), id="tiny-qwen3")


def _rows(count: int) -> list[Example]:
    return [
        Example(f"r{n}", (Message("user", f"Where is room {n}? " + "It is said often. " * (n % 9)),), f"Room {n}.")
        for n in range(count)
    ]


@pytest.mark.parametrize("role", GENERATION_ROLES)
def test_the_gpu_recipe_trains_a_qwen3_on_a_cpu_but_for_its_paged_optimizer(role: Role, tiny_qwen3: Base, tmp_path: Path) -> None:
    """Paged 8-bit AdamW needs CUDA, so 32-bit AdamW stands in; NF4, bfloat16, packing and checkpointing are the recipe's."""
    settings = load_recipe(role, "qwen3").sft()
    assert (settings.optimizer, settings.gradient_checkpointing) == (Optimizer.PAGED_ADAMW_8BIT, True)
    assert (settings.precision, settings.compute, settings.batch_size * settings.accumulate) == (Precision.NF4, "bfloat16", 16)
    short = replace(settings, max_steps=2, pack_tokens=512, stopping=None, batch_size=1, accumulate=2, warmup_share=0.0)
    run = train_adapter(_rows(12), tiny_qwen3, replace(short, optimizer=Optimizer.AUTO), tmp_path / "run")
    assert run.steps == 2 and run.losses[1][1] < run.losses[0][1]
    with pytest.raises(TrainingError, match="paged_adamw_8bit needs a GPU and there is none; set optimiser.algorithm to auto"):
        train_adapter(_rows(12), tiny_qwen3, short, tmp_path / "paged")


@pytest.mark.parametrize("role", GENERATION_ROLES)
def test_gpu_recipes_pad_less_than_a_twentieth(role: Role, tiny_base: Path) -> None:
    """Counted as the trainer batches: each batch of packed sequences is padded to its longest."""
    from transformers import AutoTokenizer

    settings = load_recipe(role, "qwen3").sft()
    rows, _ = encode(_rows(1500), ChatTokens(AutoTokenizer.from_pretrained(str(tiny_base))), settings.row_tokens)
    lengths = [len(sequence["input_ids"]) for sequence in pack(rows, settings.pack_tokens, settings.seed)]
    batches = [lengths[n : n + settings.batch_size] for n in range(0, len(lengths), settings.batch_size)]
    padded = sum(max(batch) * len(batch) for batch in batches)
    assert len(batches) > 4 and 1 - sum(lengths) / padded < 0.05
