"""Recipes: the bundled ones, every mistake in one message, whose a key is, and that each setting arrives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.starter_training.build import starter_recipe
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.tokens import ChatTokens
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import ConfigError, TrainingError
from lorag.pipeline.records import Message, Role
from lorag.training.data.negatives import Negatives
from lorag.training.packing import pack
from lorag.training.recipe import (
    FORMS,
    GENERATION_ROLES,
    EmbeddingRecipe,
    GenerationRecipe,
    JudgeRecipe,
    RewriterRecipe,
    bundled_names,
    bundled_recipe,
    changed,
    load_recipe,
    parse_recipe,
    seeded,
)
from lorag.training.recipe_parts import (
    Contrast,
    GenerationLora,
    GenerationOptimisation,
    Init,
    LoraShape,
    Optimisation,
    Optimizer,
    Stopping,
)
from lorag.training.sft import Example, encode, train_adapter
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
    assert isinstance(recipe, EmbeddingRecipe) is (role is Role.EMBEDDER)
    if isinstance(recipe, GenerationRecipe):
        assert recipe.precision is Precision.NF4  # QLoRA
        optimiser = recipe.optimiser
        assert 0 < optimiser.pack_tokens <= optimiser.max_length  # packed; a longer row stands alone
        assert (optimiser.batch_size, optimiser.gradient_checkpointing) == (1, "auto")  # no padding
        assert 1e-3 <= optimiser.learning_rate <= 2e-3


@pytest.mark.parametrize("role", bundled_starters())
def test_the_recipes_of_the_starters_are_of_the_same_family(role: Role) -> None:
    """Also those that lie beside the bundled weights."""
    recipe = load_recipe(role, starter_recipe(role))
    assert isinstance(recipe, GenerationRecipe) and (recipe.optimiser.batch_size, recipe.optimiser.max_length) == (1, 960)
    beside = Path(__file__).parents[2] / "pipeline" / "adapters" / "starters" / role.value / "recipe.yaml"
    last = load_recipe(role, starter_recipe(role, practised=True)) if role is Role.QUESTIONER else recipe
    assert load_recipe(role, beside) == last
    assert isinstance(last, GenerationRecipe) and (last.lora, last.precision) == (recipe.lora, recipe.precision)
    step = [each.optimiser.batch_size * each.optimiser.accumulate * each.optimiser.pack_tokens for each in (recipe, last)]
    assert step[0] == step[1] and last.optimiser.max_length == 960


@pytest.mark.parametrize("role", [Role.JUDGE, Role.REWRITER, Role.SYNTHESIZER])
def test_only_a_questioner_practises(role: Role) -> None:
    with pytest.raises(ConfigError, match=f"the {role.value} learns all at once"):
        starter_recipe(role, practised=True)


def test_a_role_without_a_recipe() -> None:
    with pytest.raises(ConfigError, match="no bundled recipe for the questioner; give one with --recipe FILE"):
        bundled_recipe(Role.QUESTIONER)


def test_only_the_role_is_needed(recipe_file: Path) -> None:
    recipe_file.write_text("role: judge\n")
    assert load_recipe(Role.JUDGE, recipe_file) == JudgeRecipe(role="judge")


def test_every_setting_of_a_supervised_run_arrives(recipe_file: Path) -> None:
    recipe_file.write_text(
        "role: rewriter\nprecision: int8\ncompute: float32\n"
        "lora: {rank: 4, alpha: 9, dropout: 0.2, targets: [q_proj, v_proj],\n"
        "       rslora: true, dora: true, init: pissa, activated: true}\n"
        "dev: {every: 7, patience: 2, items: 9, metric: EM}\nreport_to: [tensorboard]\n"
        "optimiser: {learning_rate: 0.003, warmup_share: 0.2, weight_decay: 0.01, batch_size: 7, accumulate: 3, epochs: 1.5,\n"
        "            algorithm: adamw, gradient_checkpointing: true, continued_rate: 0.002,\n"
        "            max_steps: 11, max_length: 99, pack_tokens: 98, checkpoint_every: 5, seed: 6}\n"
    )
    lora = GenerationLora(
        rank=4,
        alpha=9,
        dropout=0.2,
        targets=("q_proj", "v_proj"),
        rslora=True,
        dora=True,
        init=Init.PISSA,
        activated=True,
    )
    optimiser = GenerationOptimisation(
        learning_rate=0.003,
        continued_rate=0.002,
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
        algorithm=Optimizer.ADAMW,
        gradient_checkpointing=True,
    )
    assert load_recipe(Role.REWRITER, recipe_file) == RewriterRecipe(
        role="rewriter",
        precision=Precision.INT8,
        compute="float32",
        lora=lora,
        optimiser=optimiser,
        dev=Stopping(every=7, patience=2, items=9, metric="EM"),
        report_to=("tensorboard",),
    )


def test_every_setting_of_a_contrastive_run_arrives(recipe_file: Path) -> None:
    recipe_file.write_text(
        "role: embedder\n"
        "lora: {rank: 4, alpha: 9, dropout: 0.2, targets: [query]}\n"
        "optimiser: {learning_rate: 0.003, warmup_share: 0.2, weight_decay: 0.01, batch_size: 7, epochs: 1.5,\n"
        "            max_steps: 11, max_length: 99, checkpoint_every: 5, seed: 6}\n"
        "contrast: {negatives: random, negatives_per_query: 3, relative_margin: 0.9, scale: 10, query_side_only: true}\n"
    )
    assert load_recipe(Role.EMBEDDER, recipe_file) == EmbeddingRecipe(
        role="embedder",
        lora=LoraShape(rank=4, alpha=9, dropout=0.2, targets=("query",)),
        optimiser=Optimisation(
            learning_rate=0.003,
            warmup_share=0.2,
            weight_decay=0.01,
            batch_size=7,
            epochs=1.5,
            max_steps=11,
            max_length=99,
            checkpoint_every=5,
            seed=6,
        ),
        contrast=Contrast(
            negatives=Negatives.RANDOM,
            negatives_per_query=3,
            relative_margin=0.9,
            scale=10.0,
            query_side_only=True,
        ),
    )


OWNERS: dict[str, tuple[Role, ...]] = {
    "precision: nf4": GENERATION_ROLES,
    "compute: auto": GENERATION_ROLES,
    "lora: {init: default}": GENERATION_ROLES,
    "lora: {activated: true}": GENERATION_ROLES,
    "optimiser: {continued_rate: 0.001}": GENERATION_ROLES,
    "optimiser: {accumulate: 2}": GENERATION_ROLES,
    "optimiser: {pack_tokens: 512}": GENERATION_ROLES,
    "optimiser: {algorithm: adamw}": GENERATION_ROLES,
    "data: {missing_gold: 0.1}": (Role.SYNTHESIZER,),
    "data: {shuffled: 0.1}": (Role.SYNTHESIZER,),
    "data: {mixture: {intent: 2}}": (Role.JUDGE,),
    "data: {answered_support: 5}": (Role.JUDGE,),
    "contrast: {}": (Role.EMBEDDER,),
    "contrast: {scale: 10.0}": (Role.EMBEDDER,),
}


@pytest.mark.parametrize("role", TRAINED)
@pytest.mark.parametrize("line", OWNERS)
def test_a_key_that_does_nothing_for_a_role_is_an_error_that_says_whose_it_is(line: str, role: Role, recipe_file: Path) -> None:
    """The last version took all of these for every role, but `contrast`, and dropped them."""
    recipe_file.write_text(f"role: {role.value}\n{line}\n")
    if role in OWNERS[line]:
        assert load_recipe(role, recipe_file).role == role.value
        return
    with pytest.raises(ConfigError) as caught:
        load_recipe(role, recipe_file)
    group, _, rest = line.partition(": ")
    inner = rest.strip("{}").partition(":")[0]
    key = f"{group}.{inner}" if inner and rest.startswith("{") and group != "contrast" else group
    generation = {GENERATION_ROLES: "rewriter, the synthesizer, the judge and the questioner"}
    owners = generation.get(OWNERS[line], OWNERS[line][0].value)
    assert str(caught.value) == (
        f"{recipe_file}:2: {key}: belongs to the {owners} and does nothing for the {role.value}; remove it"
    )


@pytest.mark.parametrize("role", TRAINED)
def test_what_all_roles_share_is_taken_by_each(role: Role, recipe_file: Path) -> None:
    recipe_file.write_text(
        f"role: {role.value}\nlora: {{rank: 2, rslora: true}}\noptimiser: {{weight_decay: 0.1}}\ndata: {{max_rows: 7}}\n"
        "dev: {every: 3}\nreport_to: [wandb]\n"
    )
    recipe = load_recipe(role, recipe_file)
    assert (recipe.lora.rank, recipe.optimiser.weight_decay, recipe.data.max_rows) == (2, 0.1, 7)
    assert recipe.dev == Stopping(every=3) and recipe.report_to == ("wandb",)


def test_changed_puts_each_value_where_its_key_belongs() -> None:
    plain = parse_recipe({"role": "judge", "optimiser": {"epochs": 3.0}})
    other = changed(plain, rank=4, learning_rate=1e-4, seed=9, dev=Stopping(every=2), precision=Precision.FP32)
    assert (other.lora.rank, other.optimiser.learning_rate, other.optimiser.epochs) == (4, 1e-4, 3.0)
    assert other.dev == Stopping(every=2) and plain.dev is None
    with pytest.raises(KeyError, match="a recipe of the judge has no micro_batch"):
        changed(plain, micro_batch=4)


@pytest.mark.parametrize("role", TRAINED)
def test_no_two_groups_of_a_recipe_share_a_key(role: Role) -> None:
    recipe = FORMS[role](role=role.value)
    keys = [key for _, part in recipe if hasattr(part, "model_fields_set") for key in type(part).model_fields]
    assert len(keys) == len(set(keys)) > 15


def test_the_projects_seed_holds_for_a_recipe_without_one() -> None:
    assert seeded(parse_recipe({"role": "judge"}), 7).optimiser.seed == 7
    assert seeded(parse_recipe({"role": "embedder", "optimiser": {"seed": 0}}), 7).optimiser.seed == 0


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
        ("role: rewriter\ncontrast: {}\n", "contrast: belongs to the embedder and does nothing for the rewriter; remove it"),
        ("role: rewriter\ncontrast: {scael: 1}\n", "contrast: belongs to the embedder"),
        ("role: rewriter\nlora: {init: pisa}\n", "lora.init: must be one of default, pissa, loftq"),
        ("role: rewriter\nprecision: nf5\n", "precision: must be one of nf4, int8, fp32, bf16, fp16"),
        ("role: rewriter\noptimiser: {algorithm: sgd}\n", "optimiser.algorithm: must be one of auto, adamw, adamw_8bit"),
        ("role: rewriter\nlora: {rank: '16'}\n", "lora.rank: must be a whole number"),
        ("role: rewriter\nlora: {targets: everything}\n", "lora.targets"),
        ("role: rewriter\nlora:\n", "lora: must be a group"),
        ("role: rewriter\noptimiser: {learning_rate: .nan}\n", "optimiser.learning_rate"),
        ("role: rewriter\noptimiser: {learning_rate: 1.0}\n", "optimiser.learning_rate"),
        ("role: rewriter\noptimiser: {epochs: .inf}\n", "optimiser.epochs"),
        ("role: rewriter\ndata: {max_rows: -1}\n", "data.max_rows"),
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


@pytest.mark.parametrize(
    ("role", "text", "message"),
    [
        (Role.SYNTHESIZER, "data: {missing_gold: 1.0}", "data.missing_gold"),
        (Role.SYNTHESIZER, "data: {shuffled: 1.5}", "data.shuffled"),
        (Role.JUDGE, "data: {mixture: {intent: -1}}", "data.mixture.intent"),
        (Role.EMBEDDER, "contrast: {negatives: hard}", "contrast.negatives: must be one of none, random, mined"),
    ],
)
def test_a_value_that_cannot_be_used(role: Role, text: str, message: str, recipe_file: Path) -> None:
    recipe_file.write_text(f"role: {role.value}\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(role, recipe_file)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("precision", "compute", "own"),
    [("fp32", "bfloat16", "float32"), ("bf16", "float32", "bfloat16"), ("fp16", "bfloat16", "float16")],
)
def test_a_compute_type_that_the_weights_do_not_leave_open_is_refused(
    precision: str, compute: str, own: str, recipe_file: Path
) -> None:
    for taken in ("auto", own):
        recipe_file.write_text(f"role: judge\nprecision: {precision}\ncompute: {taken}\n")
        assert load_recipe(Role.JUDGE, recipe_file).compute == taken
    recipe_file.write_text(f"role: judge\nprecision: {precision}\ncompute: {compute}\n")
    with pytest.raises(ConfigError, match=f"`compute` {compute} does nothing for {precision} weights, which compute in {own}"):
        load_recipe(Role.JUDGE, recipe_file)


def test_length_0_is_the_encoders_own_limit_and_none_for_a_base() -> None:
    assert changed(EmbeddingRecipe(role="embedder"), max_length=0).optimiser.max_length == 0
    assert changed(JudgeRecipe(role="judge"), max_length=0).optimiser.row_tokens == 8192
    assert changed(JudgeRecipe(role="judge"), max_length=700, pack_tokens=512).optimiser.row_tokens == 700


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
    recipe = load_recipe(role, "qwen3")
    assert isinstance(recipe, GenerationRecipe)
    optimiser = recipe.optimiser
    assert (optimiser.algorithm, optimiser.gradient_checkpointing) == (Optimizer.PAGED_ADAMW_8BIT, True)
    assert (recipe.precision, recipe.compute, optimiser.batch_size * optimiser.accumulate) == (Precision.NF4, "bfloat16", 16)
    short = changed(recipe, max_steps=2, pack_tokens=512, dev=None, batch_size=1, accumulate=2, warmup_share=0.0)
    run = train_adapter(_rows(12), tiny_qwen3, changed(short, algorithm=Optimizer.AUTO), tmp_path / "run")
    assert run.steps == 2 and run.losses[1][1] < run.losses[0][1]
    with pytest.raises(TrainingError, match="paged_adamw_8bit needs a GPU and there is none; set optimiser.algorithm to auto"):
        train_adapter(_rows(12), tiny_qwen3, short, tmp_path / "paged")


@pytest.mark.parametrize("role", GENERATION_ROLES)
def test_gpu_recipes_pad_less_than_a_twentieth(role: Role, tiny_base: Path) -> None:
    """Counted as the trainer batches: each batch of packed sequences is padded to its longest."""
    from transformers import AutoTokenizer

    settings = load_recipe(role, "qwen3").optimiser
    assert isinstance(settings, GenerationOptimisation)
    rows, _ = encode(_rows(1500), ChatTokens(AutoTokenizer.from_pretrained(str(tiny_base))), settings.row_tokens)
    lengths = [len(sequence["input_ids"]) for sequence in pack(rows, settings.pack_tokens, settings.seed)]
    batches = [lengths[n : n + settings.batch_size] for n in range(0, len(lengths), settings.batch_size)]
    padded = sum(max(batch) * len(batch) for batch in batches)
    assert len(batches) > 4 and 1 - sum(lengths) / padded < 0.05
