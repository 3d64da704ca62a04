"""One starter: mixture → examples → adapter, by the recipe of its role."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.starter_training.mixtures import (
    SETS,
    judge_examples,
    practised_examples,
    questioner_examples,
    rewriter_examples,
    synthesizer_examples,
)
from benchmarks.starter_training.sources import Split
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.errors import ConfigError, TrainingError
from lorag.pipeline.records import Role
from lorag.training.progress import Progress
from lorag.training.recipe import GenerationRecipe, load_recipe
from lorag.training.sft import Example, TrainedAdapter, train_adapter

BASE = "smollm2-135m"

EXAMPLES: dict[Role, Callable[[Path, Split, int], list[Example]]] = {
    Role.REWRITER: rewriter_examples,
    Role.SYNTHESIZER: synthesizer_examples,
    Role.JUDGE: judge_examples,
    Role.QUESTIONER: questioner_examples,
}

STARTS_FROM: dict[Role, Role] = {Role.JUDGE: Role.SYNTHESIZER}
"""Starters that start from the weights of another. The synthesizer already compares a question with passages. The judge's tasks
need that, and do not learn it from labels of one word within the budget (`training/LOG.md`)."""


def starter_recipe(role: Role, *, practised: bool = False) -> Path:
    """The recipe that a bundled starter was trained with, or that of what a questioner learns last (`practised`).

    Raises ConfigError for another role that is to be practised.
    """
    if practised and role is not Role.QUESTIONER:
        raise ConfigError(f"the {role.value} learns all at once; only a questioner goes on with what it practises last")
    return Path(__file__).with_name(f"{role.value}_written.yaml" if practised else f"{role.value}.yaml")


def load_starter_recipe(role: Role, recipe: Path) -> GenerationRecipe:
    """The recipe in the file. Raises ConfigError, as `load_recipe`."""
    found = load_recipe(role, recipe)
    if not isinstance(found, GenerationRecipe):
        raise ConfigError(f"there is no starter of the {role.value}; choose one of {', '.join(each.value for each in EXAMPLES)}")
    return found


def train_starter(
    role: Role,
    data: Path,
    out: Path,
    *,
    recipe: Path | None = None,
    resume: bool = False,
    without: Sequence[str] = (),
    begin: Path | None = None,
) -> TrainedAdapter:
    """Train the starter of `role` in the run folder `out`, from the bundled starter of `STARTS_FROM`, if there is one.

    A questioner may be trained `without` some of its sets. With `begin`, an adapter folder, it goes on from that questioner with
    what is practised last. Raises DataError, ConfigError, and TrainingError, also if the starter to begin with is not bundled.
    """
    practised = begin is not None
    chosen = load_starter_recipe(role, recipe or starter_recipe(role, practised=practised))
    examples = examples_of(role, data, chosen, without=without, practised=practised)
    print(f"{len(examples)} examples", file=sys.stderr)
    return train_adapter(
        examples,
        resolve_base(BASE),
        chosen,
        out,
        parent=begin or _parent(role),
        resume=resume,
        on_progress=_print_progress,
        on_notice=lambda line: print(line, file=sys.stderr),
    )


def examples_of(
    role: Role, data: Path, recipe: GenerationRecipe, *, without: Sequence[str] = (), practised: bool = False
) -> list[Example]:
    """The training examples of a starter, those of a questioner `without` some sets, or what it learns last (`practised`).

    Raises DataError, ConfigError.
    """
    make = EXAMPLES[role]
    if role is Role.QUESTIONER:
        make = partial(practised_examples if practised else questioner_examples, without=_known(without))
    return make(data, "train", recipe.optimiser.seed)


def _known(without: Sequence[str]) -> Sequence[str]:
    sets = SETS[Role.QUESTIONER]
    if unknown := sorted(set(without) - set(sets)):
        raise ConfigError(f"the questioner does not learn from {', '.join(unknown)}; its sets: {', '.join(sets)}")
    return without


def _parent(role: Role) -> Path | None:
    earlier = STARTS_FROM.get(role)
    if earlier is None:
        return None
    folder = bundled_starters().get(earlier)
    if folder is None:
        raise TrainingError(f"the starter {role.value} begins with the {earlier.value}, which is not bundled; make that first")
    return folder


def _print_progress(progress: Progress) -> None:
    if progress.step % 10 == 0 or progress.step == progress.total:
        left = f", {progress.seconds_left / 60:.0f} min left" if progress.seconds_left is not None else ""
        print(f"step {progress.step} of {progress.total}: loss {progress.loss:.3f}{left}", file=sys.stderr)
