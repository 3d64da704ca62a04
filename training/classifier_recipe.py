"""Reads a classifier's recipe strictly from YAML; bundled ones lie in `training/recipes/` as `classifier-NAME.yaml`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from lorag.pipeline.config_problems import describe_problems
from lorag.pipeline.errors import ConfigError
from lorag.pipeline.yaml_text import read_yaml
from lorag.training.classification import ClassifierRecipe

BUNDLED = ("classifier-minilm", "classifier-qwen3")


def load_classifier_recipe(name: str) -> ClassifierRecipe:
    """The recipe that is bundled under `name`, or the file of that name. Raises ConfigError, all problems in one message."""
    path = Path(str(resources.files("lorag.training") / "recipes" / f"{name}.yaml")) if name in BUNDLED else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the recipe cannot be read: {error}; bundled ones: {', '.join(BUNDLED)}") from error
    parsed = read_yaml(text, str(path))
    try:
        return ClassifierRecipe.model_validate(parsed.value)
    except ValidationError as error:
        raise ConfigError(describe_problems(error, ClassifierRecipe, parsed, str(path))) from None
