"""A recipe: how one role's adapter is trained, in two forms that share their parts, read strictly from YAML.

Bundled ones lie in `training/recipes/`, one a role and more by name. A key that does nothing for a role is an error that says
whose it is. All problems of a file are in one message. Knows settings only: no data, no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast, overload

from pydantic import BaseModel, Field, ValidationError, model_validator

from lorag.pipeline.config_problems import describe_problems, require_compute
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import ConfigError
from lorag.pipeline.records import Role
from lorag.pipeline.yaml_text import KeyPath, read_yaml
from lorag.training.recipe_parts import (
    Contrast,
    DataMix,
    GenerationLora,
    GenerationOptimisation,
    JudgeMix,
    LoraShape,
    Optimisation,
    Part,
    Stopping,
    SynthesizerMix,
)

GENERATION_ROLES = (Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE)

Trackers = Annotated[tuple[Literal["tensorboard", "wandb", "mlflow"], ...], Field(strict=False)]


class GenerationRecipe(Part):
    """Supervised training of an adapter on the language model. `precision` and `compute` are of its base while it trains.

    Only nf4 and int8 weights leave `compute` open; with another precision, another type than its own is an error.
    """

    role: Literal["rewriter", "synthesizer", "judge", "questioner"]
    precision: Annotated[Precision, Field(strict=False)] = Precision.NF4
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    lora: GenerationLora = GenerationLora()
    optimiser: GenerationOptimisation = GenerationOptimisation()
    data: DataMix = DataMix()
    dev: Stopping | None = None
    report_to: Trackers = ()

    @model_validator(mode="after")
    def _one_type(self) -> Self:
        require_compute(self.precision, self.compute)
        return self


class RewriterRecipe(GenerationRecipe):
    """Supervised training of the rewriter's adapter. `precision` and `compute` are of its base while it trains."""

    role: Literal["rewriter"]


class SynthesizerRecipe(GenerationRecipe):
    """Supervised training of the synthesizer's adapter. `precision` and `compute` are of its base while it trains."""

    role: Literal["synthesizer"]
    data: SynthesizerMix = SynthesizerMix()


class JudgeRecipe(GenerationRecipe):
    """Supervised training of the judge's adapter. `precision` and `compute` are of its base while it trains."""

    role: Literal["judge"]
    data: JudgeMix = JudgeMix()


class QuestionerRecipe(GenerationRecipe):
    """Supervised training of the questioner's adapter. `precision` and `compute` are of its base while it trains."""

    role: Literal["questioner"]


class EmbeddingRecipe(Part):
    """Contrastive training of an adapter on the text encoder."""

    role: Literal["embedder"]
    lora: LoraShape = LoraShape()
    optimiser: Optimisation = Optimisation()
    data: DataMix = DataMix()
    contrast: Contrast = Contrast()
    dev: Stopping | None = None
    report_to: Trackers = ()


Recipe = GenerationRecipe | EmbeddingRecipe
R = TypeVar("R", bound=GenerationRecipe | EmbeddingRecipe)

FORMS: Mapping[Role, type[Recipe]] = {
    Role.REWRITER: RewriterRecipe,
    Role.EMBEDDER: EmbeddingRecipe,
    Role.SYNTHESIZER: SynthesizerRecipe,
    Role.JUDGE: JudgeRecipe,
    Role.QUESTIONER: QuestionerRecipe,
}


def parse_recipe(values: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values, as a file holds them. Raises ValueError for values that do not fit."""
    form = next((form for role, form in FORMS.items() if role.value == values.get("role")), None)
    if form is None:
        raise ValueError(f"role {values.get('role')!r}: recipes are of {', '.join(role.value for role in FORMS)}")
    return form.model_validate(values)


def seeded(recipe: R, seed: int) -> R:
    """The recipe with `seed`, unless it has its own."""
    return recipe if "seed" in recipe.optimiser.model_fields_set else changed(recipe, seed=seed)


def changed(recipe: R, **values: Any) -> R:
    """The recipe with other values, each put unvalidated into the part that has its key: no two parts share a key.

    Raises KeyError for a key that the recipe does not have.
    """
    update: dict[str, Any] = {}
    for key, value in values.items():
        if key in type(recipe).model_fields:
            update[key] = value
            continue
        owner = next((name for name, part in recipe if isinstance(part, Part) and key in type(part).model_fields), None)
        if owner is None:
            raise KeyError(f"a recipe of the {recipe.role} has no {key}")
        update[owner] = update.get(owner, getattr(recipe, owner)).model_copy(update={key: value})
    return cast(R, recipe.model_copy(update=update))


def bundled_recipe(role: Role, name: str = "") -> Path:
    """The recipe that ships for `role`: the one for any CPU, or that of `name`, such as `qwen3`.

    Raises ConfigError, with the bundled names, if there is none.
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
    """The names of the further recipes that ship for `role`, sorted."""
    files = (Path(str(resources.files("lorag.training") / "recipes"))).glob(f"{role.value}-*.yaml")
    return tuple(sorted(path.stem.removeprefix(f"{role.value}-") for path in files))


def _place(role: Role, recipe: Path | str | None) -> Path:
    """A file, else a bundled name with or without the role as prefix. Text that looks like a path is a path."""
    if recipe is None:
        return bundled_recipe(role)
    path = Path(recipe)
    if path.is_file() or path.suffix or len(path.parts) != 1:
        return path
    name = path.name.removeprefix(role.value).removeprefix("-")
    return bundled_recipe(role, name)


@overload
def load_recipe(role: Literal[Role.EMBEDDER], recipe: Path | str | None = None) -> EmbeddingRecipe: ...
@overload
def load_recipe(
    role: Literal[Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE], recipe: Path | str | None = None
) -> GenerationRecipe: ...
@overload
def load_recipe(role: Role, recipe: Path | str | None = None) -> Recipe: ...
def load_recipe(role: Role, recipe: Path | str | None = None) -> Recipe:
    """Read the recipe in the file `recipe`, the bundled one of that name, or if it is None the bundled one of `role`.

    Raises ConfigError, all problems in one message, also for a recipe of another role.
    """
    path = _place(role, recipe)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the recipe cannot be read: {error}") from error
    parsed = read_yaml(text, str(path))
    its_role = _role(parsed.value, role)
    form = FORMS[its_role]
    try:
        found = form.model_validate(parsed.value)
    except ValidationError as error:
        problems = describe_problems(error, form, parsed, str(path), explain=lambda kind, key: _explain(kind, key, its_role))
        raise ConfigError(problems) from None
    if its_role is not role:
        raise ConfigError(f"{path}: is a recipe of the {found.role}, not of the {role.value}; give that role's recipe")
    return found


def _role(values: Any, asked: Role) -> Role:
    """The role that the file names, if that role has recipes, else `asked`, whose form then reports the problem."""
    named = values.get("role") if isinstance(values, Mapping) else None
    return next((role for role in FORMS if role.value == named), asked)


def _explain(kind: str, path: KeyPath, role: Role) -> str | None:
    """What pydantic cannot say of a problem: the known roles, and the roles that have a key."""
    if kind == "literal_error" and path == ("role",):
        return f"must be one of {', '.join(each.value for each in FORMS)}"
    if kind != "extra_forbidden":
        return None
    owners = [other.value for other, form in FORMS.items() if other is not role and _has(form, path)]
    if not owners:
        return None
    named = " and the ".join(filter(None, [", the ".join(owners[:-1]), owners[-1]]))
    return f"belongs to the {named} and does nothing for the {role.value}; remove it"


def _has(form: type[BaseModel], path: KeyPath) -> bool:
    """Whether `path` is a key of the form."""
    for at, part in enumerate(path):
        field = form.model_fields.get(str(part))
        if field is None:
            return False
        if at + 1 < len(path):
            if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
                return False
            form = field.annotation
    return True
