"""A recipe: how one role's adapter is trained, read strictly from YAML. Bundled ones lie in `training/recipes/`, one a role.

Every problem of a file is told in one message. Knows settings only: no data, no model.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from pipeline.config_problems import describe_problems
from pipeline.engine.weights import Precision
from pipeline.errors import ConfigError
from pipeline.records import Role
from pipeline.yaml_text import read_yaml
from training.contrastive import ContrastiveSettings
from training.data.negatives import Negatives
from training.sft import SftSettings

GENERATION_ROLES = (Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE)

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Targets = Literal["all-linear"] | list[str]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False)


class LoraRecipe(_Strict):
    """The adapter's shape: W + (alpha / rank) · B·A on the target modules (arXiv 2106.09685)."""

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    dropout: Share = 0.0
    targets: Targets = "all-linear"


class OptimiserRecipe(_Strict):
    """How it learns. `max_steps` 0 means by epochs; the rate rises for `warmup_share` of the steps, then falls linearly.

    `pack_tokens`: rows are packed into sequences of that many tokens, and `batch_size` counts sequences; 0: rows as they are.
    """

    learning_rate: Rate = 1e-3
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


class ContrastRecipe(_Strict):
    """The embedder's loss: hard negatives a query and where they come from; `scale` is the inverse temperature."""

    negatives: Literal["none", "random", "mined"] = "mined"
    negatives_per_query: Annotated[int, Field(ge=0, le=16)] = 2
    relative_margin: Annotated[float, Field(gt=0, le=1)] = 0.95
    scale: Annotated[float, Field(gt=0)] = 20.0
    query_side_only: bool = False


class Recipe(_Strict):
    """All of it. `contrast` belongs to the embedder alone; `precision` and `compute` are of the generation roles' base."""

    role: Literal["rewriter", "embedder", "synthesizer", "judge"]
    precision: Literal["nf4", "int8", "fp32", "bf16", "fp16"] = "nf4"
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    lora: LoraRecipe = Field(default_factory=LoraRecipe)
    optimiser: OptimiserRecipe = Field(default_factory=OptimiserRecipe)
    data: DataRecipe = Field(default_factory=DataRecipe)
    contrast: ContrastRecipe | None = None

    @model_validator(mode="after")
    def _fits_role(self) -> Self:
        if self.contrast is not None and self.role != "embedder":
            raise PydanticCustomError("recipe", "`contrast` belongs to the embedder; remove it")
        return self

    def sft(self) -> SftSettings:
        """The settings of a supervised run."""
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
        )


def _targets(targets: Targets) -> str | tuple[str, ...]:
    return targets if isinstance(targets, str) else tuple(targets)


def bundled_recipe(role: Role) -> Path:
    """The recipe that ships for `role`. Raises ConfigError for a role that has none."""
    path = Path(str(resources.files("training") / "recipes" / f"{role.value}.yaml"))
    if not path.is_file():
        raise ConfigError(f"no bundled recipe for the {role.value}; give one with --recipe FILE")
    return path


def load_recipe(role: Role, path: Path | None = None) -> Recipe:
    """Read the recipe in `path`, or the bundled one of `role`.

    Raises ConfigError, all problems in one message, and where the recipe is another role's.
    """
    path = path or bundled_recipe(role)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the recipe cannot be read: {error}") from error
    parsed = read_yaml(text, str(path))
    try:
        recipe = Recipe.model_validate(parsed.value)
    except ValidationError as error:
        raise ConfigError(describe_problems(error, Recipe, parsed, str(path))) from None
    if recipe.role != role.value:
        raise ConfigError(f"{path}: is a recipe of the {recipe.role}, not of the {role.value}; give that role's recipe")
    return recipe
