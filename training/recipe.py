"""A recipe: how one role's adapter is trained, read strictly from YAML. Bundled ones lie in `training/recipes/`, one a role.

Every problem of a file is told in one message. Knows settings only: no data, no model.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from lorag.pipeline.config_problems import describe_problems
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import ConfigError
from lorag.pipeline.records import Role
from lorag.pipeline.yaml_text import read_yaml
from lorag.training.contrastive import ContrastiveSettings
from lorag.training.data.negatives import Negatives
from lorag.training.early_stopping import Stopping
from lorag.training.lora_options import Init
from lorag.training.sft import Optimizer, SftSettings

GENERATION_ROLES = (Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE)

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Targets = Literal["all-linear"] | list[str]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False)


class LoraRecipe(_Strict):
    """The adapter's shape: W + (alpha / rank) · B·A on the target modules (arXiv 2106.09685).

    `init` and `activated` are of the generation roles. What the options are and what goes together is said in
    `training.lora_options`.
    """

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    dropout: Share = 0.0
    targets: Targets = "all-linear"
    rslora: bool = False
    dora: bool = False
    init: Literal["default", "pissa", "loftq"] = "default"
    activated: bool = False


class OptimiserRecipe(_Strict):
    """How it learns. `max_steps` 0 means by epochs; the rate rises for `warmup_share` of the steps, then falls linearly.
    `continued_rate`, where it is not 0, takes the place of `learning_rate` in a run that goes on from another adapter.

    `pack_tokens`: rows are packed into sequences of that many tokens, and `batch_size` counts sequences; 0: rows as they are.
    `algorithm` is of the generation roles; `auto` is AdamW in 32 bit and no checkpointing on a CPU, paged AdamW in 8 bit and
    checkpointing on a GPU. For the embedder `auto` means no checkpointing.
    """

    learning_rate: Rate = 1e-3
    continued_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    warmup_share: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Count = 4
    accumulate: Count = 1
    epochs: Annotated[float, Field(gt=0)] = 2.0
    max_steps: Annotated[int, Field(ge=0)] = 0
    max_length: Annotated[int, Field(ge=0)] = 1024
    pack_tokens: Annotated[int, Field(ge=0)] = 0
    checkpoint_every: Count = 50
    seed: int = 0
    algorithm: Literal["auto", "adamw", "adamw_8bit", "paged_adamw_8bit"] = "auto"
    gradient_checkpointing: Literal["auto"] | bool = "auto"


class DataRecipe(_Strict):
    """What is made of the rows. `max_rows` 0 means all; the next two are of the synthesizer.

    `missing_gold` is the share of answerable questions shown without their gold passages, whose right reply is the refusal;
    `shuffled` the share shown with passages in random order, the rest in the order retrieval would give. `mixture` is of the
    judge: how often an epoch shows the rows of a task, 1 where it is not named; 0.25 means a quarter of them, 0 none; so is
    `answered_support`, the number of support judgments that are made of answered training questions.
    """

    max_rows: Annotated[int, Field(ge=0)] = 0
    missing_gold: Share = 0.12
    shuffled: Annotated[float, Field(ge=0, le=1)] = 0.5
    mixture: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict)
    answered_support: Annotated[int, Field(ge=0)] = 0


class DevRecipe(_Strict):
    """Early stopping by the dev split: `items` of it are answered every `every` steps, and the run ends after `patience` times
    without a better figure of `metric` (left out: the role's own). The best checkpoint is published."""

    every: Count = 50
    patience: Count = 3
    items: Count = 32
    metric: str = ""


class ContrastRecipe(_Strict):
    """The embedder's loss: hard negatives a query and where they come from; `scale` is the inverse temperature.

    `micro_batch`, where it is not 0, is how many texts are embedded at a time: the same loss in less memory, in more time.
    `instruction` is put before each query, in training and, since the adapter carries it, when serving; left out: the model's.
    """

    negatives: Literal["none", "random", "mined"] = "mined"
    negatives_per_query: Annotated[int, Field(ge=0, le=16)] = 2
    relative_margin: Annotated[float, Field(gt=0, le=1)] = 0.95
    scale: Annotated[float, Field(gt=0)] = 20.0
    query_side_only: bool = False
    micro_batch: Annotated[int, Field(ge=0)] = 0
    instruction: str = ""


class Recipe(_Strict):
    """All of it. `contrast` belongs to the embedder alone; `precision` and `compute` are of the generation roles' base."""

    role: Literal["rewriter", "embedder", "synthesizer", "judge"]
    precision: Literal["nf4", "int8", "fp32", "bf16", "fp16"] = "nf4"
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    lora: LoraRecipe = Field(default_factory=LoraRecipe)
    optimiser: OptimiserRecipe = Field(default_factory=OptimiserRecipe)
    data: DataRecipe = Field(default_factory=DataRecipe)
    contrast: ContrastRecipe | None = None
    dev: DevRecipe | None = None
    report_to: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits_role(self) -> Self:
        if self.contrast is not None and self.role != "embedder":
            raise PydanticCustomError("recipe", "`contrast` belongs to the embedder; remove it")
        if self.role == "embedder" and (self.lora.activated or self.lora.init != "default"):
            raise PydanticCustomError("recipe", "`lora` options init and activated are not of the embedder; remove them")
        return self

    def sft(self) -> SftSettings:
        """The settings of a supervised run."""
        checkpointing = self.optimiser.gradient_checkpointing
        return SftSettings(
            rank=self.lora.rank,
            alpha=self.lora.alpha,
            dropout=self.lora.dropout,
            targets=_targets(self.lora.targets),
            learning_rate=self.optimiser.learning_rate,
            warmup_share=self.optimiser.warmup_share,
            weight_decay=self.optimiser.weight_decay,
            batch_size=self.optimiser.batch_size,
            accumulate=self.optimiser.accumulate,
            epochs=self.optimiser.epochs,
            max_steps=self.optimiser.max_steps,
            max_length=self.optimiser.max_length or 8192,
            pack_tokens=self.optimiser.pack_tokens,
            checkpoint_every=self.optimiser.checkpoint_every,
            seed=self.optimiser.seed,
            precision=Precision(self.precision),
            compute=self.compute,
            rslora=self.lora.rslora,
            dora=self.lora.dora,
            init=Init(self.lora.init),
            activated=self.lora.activated,
            optimizer=Optimizer(self.optimiser.algorithm),
            gradient_checkpointing=None if checkpointing == "auto" else checkpointing,
            stopping=self._stopping(),
            report_to=tuple(self.report_to),
        )

    def contrastive(self, model: str) -> ContrastiveSettings:
        """The settings of a contrastive run of the encoder `model`."""
        contrast = self.contrast or ContrastRecipe()
        return ContrastiveSettings(
            model=model,
            rank=self.lora.rank,
            alpha=self.lora.alpha,
            dropout=self.lora.dropout,
            targets=_targets(self.lora.targets),
            learning_rate=self.optimiser.learning_rate,
            warmup_share=self.optimiser.warmup_share,
            weight_decay=self.optimiser.weight_decay,
            batch_size=self.optimiser.batch_size,
            epochs=self.optimiser.epochs,
            max_steps=self.optimiser.max_steps,
            max_length=self.optimiser.max_length,
            checkpoint_every=self.optimiser.checkpoint_every,
            seed=self.optimiser.seed,
            negatives=Negatives(contrast.negatives),
            negatives_per_query=contrast.negatives_per_query,
            relative_margin=contrast.relative_margin,
            scale=contrast.scale,
            query_side_only=contrast.query_side_only,
            micro_batch=contrast.micro_batch,
            instruction=contrast.instruction,
            rslora=self.lora.rslora,
            dora=self.lora.dora,
            gradient_checkpointing=self.optimiser.gradient_checkpointing is True,
            stopping=self._stopping(),
            report_to=tuple(self.report_to),
        )

    def _stopping(self) -> Stopping | None:
        return Stopping(self.dev.every, self.dev.patience, self.dev.items, self.dev.metric) if self.dev else None


def _targets(targets: Targets) -> str | tuple[str, ...]:
    return targets if isinstance(targets, str) else tuple(targets)


def bundled_recipe(role: Role, name: str = "") -> Path:
    """The recipe that ships for `role`: the one for any CPU, or that of `name`, such as `qwen3`.

    Raises ConfigError where there is none, with the names that there are.
    """
    folder = Path(str(resources.files("lorag.training") / "recipes"))
    path = folder / f"{role.value}-{name}.yaml" if name else folder / f"{role.value}.yaml"
    if not path.is_file() and not name:
        raise ConfigError(f"no bundled recipe for the {role.value}; give one with --recipe FILE")
    if not path.is_file():
        raise ConfigError(
            f"no recipe {name!r} for the {role.value}; bundled are {', '.join(bundled_names(role)) or 'none'}, "
            "or give a file with --recipe FILE"
        )
    return path


def bundled_names(role: Role) -> tuple[str, ...]:
    """The names of the recipes that ship for `role` beside its own, in order."""
    files = (Path(str(resources.files("lorag.training") / "recipes"))).glob(f"{role.value}-*.yaml")
    return tuple(sorted(path.stem.removeprefix(f"{role.value}-") for path in files))


def _place(role: Role, recipe: Path | str | None) -> Path:
    """A file stands before a bundled name, with or without the role before it; text that looks like a file is one."""
    if recipe is None:
        return bundled_recipe(role)
    path = Path(recipe)
    if path.is_file() or path.suffix or len(path.parts) != 1:
        return path
    name = path.name.removeprefix(role.value).removeprefix("-")
    return bundled_recipe(role, name)


def load_recipe(role: Role, recipe: Path | str | None = None) -> Recipe:
    """Read the recipe in the file `recipe`, the bundled one of that name, or where it is None the bundled one of `role`.

    Raises ConfigError, all problems in one message, and where the recipe is another role's.
    """
    path = _place(role, recipe)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the recipe cannot be read: {error}") from error
    parsed = read_yaml(text, str(path))
    try:
        found = Recipe.model_validate(parsed.value)
    except ValidationError as error:
        raise ConfigError(describe_problems(error, Recipe, parsed, str(path))) from None
    if found.role != role.value:
        raise ConfigError(f"{path}: is a recipe of the {found.role}, not of the {role.value}; give that role's recipe")
    return found
