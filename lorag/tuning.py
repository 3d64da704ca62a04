"""Trains one adapter in a project: settings, data folder and recipe → a run's plan or a published candidate.

Knows no terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.assembly import serving_retrieval
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Role

if TYPE_CHECKING:
    from lorag.pipeline.adapters.registry import Registry, Version
    from lorag.pipeline.config import Settings
    from lorag.training.estimate import Plan
    from lorag.training.parent import StartAdapter
    from lorag.training.progress import Progress
    from lorag.training.recipe import Recipe

RUNS = Path(".lorag/runs")
QUERY_SIDE = "query-side"
"""The embedder's bundled recipe that tunes the question side alone: the default if the settings say `query_side_only`."""

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """A training as the user describes it.

    `recipe` is a `Recipe`, a file, or the name of a bundled recipe (None: the role's own). `begin` is the adapter to continue
    from and `public` another data folder, on whose test rows it is compared too. `max_memory` is text such as 6GiB. If
    `measured` is False, a continued adapter is not compared.
    """

    role: Role
    data: Path
    recipe: str | Path | Recipe | None = None
    begin: str | None = None
    public: Path | None = None
    max_memory: str | None = None
    measured: bool = True


@dataclass(frozen=True, slots=True)
class TrainingCallbacks:
    """The callbacks of a run: for each step, each notice, and each item on which a continued adapter is compared."""

    on_progress: Callable[[Progress], None] | None = None
    on_notice: Notice | None = None
    on_measured: Callable[[int, int], None] | None = None


def run_folder_for(project: Path, role: Role, *, resume: bool) -> Path:
    """The folder of a run's checkpoints: a new numbered one, so no run's loss curve is lost, or with `resume` the newest one."""
    runs = project / RUNS
    pattern = re.compile(rf"{role.value}-(\d+)")
    found = [match for path in runs.iterdir() if (match := pattern.fullmatch(path.name))] if runs.is_dir() else []
    newest = max((int(match[1]) for match in found), default=0)
    return runs / f"{role.value}-{newest if resume and newest else newest + 1:04d}"


def train_adapter(
    settings: Settings,
    registry: Registry,
    spec: TrainingSpec,
    run_folder: Path,
    *,
    resume: bool = False,
    callbacks: TrainingCallbacks | None = None,
) -> Version:
    """Train what `spec` says and publish it as `candidate`. Raises as `train_role`, and ConfigError for a recipe."""
    from lorag.training import processes
    from lorag.training.dataset import DataFolder
    from lorag.training.parent import Continuation
    from lorag.training.run import train_role
    from lorag.training.transfer.measuring import tasks

    callbacks = callbacks or TrainingCallbacks()
    recipe, start = _recipe_and_start(settings, spec, registry)
    continuation = None
    if start is not None:
        other = DataFolder(spec.public, settings.judge.intents) if spec.public else None
        chosen = tuple(tasks(spec.role, folder=other)) if spec.measured else ()
        continuation = Continuation(start, chosen, callbacks.on_measured)
    if spec.max_memory:
        plan = _plan(settings, registry, spec, recipe, start)
        recipe = plan.recipe
        if callbacks.on_notice is not None and processes.is_first():
            callbacks.on_notice(_micro_batches(plan))
    return train_role(
        spec.role,
        data=spec.data,
        recipe=recipe,
        base=settings.base.model,
        embedder=settings.embedder.model,
        registry=registry,
        run_folder=run_folder,
        retrieval=serving_retrieval(settings),
        intents=settings.judge.intents,
        base_device=settings.base.device,
        embedder_device=settings.embedder.device,
        seed=settings.seed,
        resume=resume,
        on_progress=callbacks.on_progress,
        on_notice=callbacks.on_notice if processes.is_first() else None,
        continuation=continuation,
    )


def plan_adapter(settings: Settings, registry: Registry, spec: TrainingSpec) -> Plan:
    """What the run needs: parameters, steps, memory and time. Trains and writes nothing."""
    return _plan(settings, registry, spec, *_recipe_and_start(settings, spec, registry))


def rows_a_step(plan: Plan) -> str:
    """How a step reads its rows, as text."""
    if not plan.micro_batch:
        return f"{plan.batch} at once"
    if plan.micro_batch != plan.batch:
        return f"{plan.batch}, {plan.micro_batch} at a time with cached gradients"
    return f"{plan.batch * plan.accumulate}, {plan.batch} at a time"


def _micro_batches(plan: Plan) -> str:
    from lorag.training.estimate_memory import show_size

    return f"rows a step: {rows_a_step(plan)}, for a peak of about {show_size(plan.memory.total)}"


def _recipe_and_start(settings: Settings, spec: TrainingSpec, registry: Registry) -> tuple[Recipe, StartAdapter | None]:
    """The recipe, and the adapter that the run continues, if any."""
    from lorag.training.parent import find_start
    from lorag.training.recipe import load_recipe

    if spec.recipe is None or isinstance(spec.recipe, str | Path):
        query_side = spec.role is Role.EMBEDDER and settings.embedder.query_side_only
        recipe = load_recipe(spec.role, spec.recipe or (QUERY_SIDE if query_side else None))
    else:
        recipe = spec.recipe
    start = find_start(spec.begin, spec.role, registry) if spec.begin else None
    if spec.public and not start:
        raise InputError("--public measures what training changes on an adapter; name that adapter with --from")
    return recipe, start


def _plan(settings: Settings, registry: Registry, spec: TrainingSpec, recipe: Recipe, start: StartAdapter | None) -> Plan:
    from lorag.training.contrastive import Encoder
    from lorag.training.dataset import DataFolder
    from lorag.training.estimate import plan_training
    from lorag.training.estimate_memory import read_size
    from lorag.training.parent import agreed
    from lorag.training.recipe import seeded
    from lorag.training.run import TrainingRun

    job = TrainingRun(
        role=spec.role,
        data=DataFolder(spec.data, settings.judge.intents),
        recipe=seeded(agreed(recipe, start) if start else recipe, settings.seed),
        base=settings.base.model,
        base_device=settings.base.device,
        encoder=Encoder(settings.embedder.model, settings.embedder.device),
        registry=registry,
        run_folder=Path(),
        retrieval=serving_retrieval(settings),
        resume=False,
        on_progress=None,
        on_notice=None,
        continuation=None,
    )
    return plan_training(job, read_size(spec.max_memory) if spec.max_memory else 0)
