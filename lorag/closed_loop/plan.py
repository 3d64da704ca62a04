"""What a run of the closed loop would do in its time: the rows and the seconds of each stage. Trains and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorag.closed_loop.budget import EVALUATE, INDEX, MAKE, rows_within, share_of
from lorag.closed_loop.state import LoopSpec
from lorag.making import MakingSpec, plan_making
from lorag.pipeline.adapters.registry import PRODUCTION, Registry
from lorag.pipeline.config import Settings
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Role
from lorag.training.dataset import DataFolder
from lorag.training.recipe import load_recipe
from lorag.tuning import TrainingSpec, plan_adapter


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage: how many rows it reads (0: not known before it begins), and how long it takes (None: as long as it takes)."""

    stage: str
    rows: int
    seconds: float | None


def rows_folder(settings: Settings, spec: LoopSpec) -> DataFolder:
    """The folder of rows that the run was given. Raises DataError for rows that cannot be trained on."""
    data = DataFolder(Path(spec.data), settings.judge.intents)
    data.require()
    lacking = [role.value for role in spec.roles if not data.has("train", role)]
    if lacking:
        raise DataError(f"no train/{lacking[0]}.jsonl in {data.folder}; add it, or leave the {lacking[0]} out with --roles")
    for role in spec.roles:
        data.check_training(role)
    return data


def training_spec(data: DataFolder, registry: Registry, role: Role, spec: LoopSpec) -> TrainingSpec:
    """The training of a role by its bundled recipe, on from the version that serves if that is asked for."""
    begin = PRODUCTION if spec.from_starters and PRODUCTION in registry.aliases(role) else None
    return TrainingSpec(role, data.folder, load_recipe(role), begin, measured=False)


def plan_loop(settings: Settings, registry: Registry, spec: LoopSpec) -> tuple[StagePlan, ...]:
    """The stages of a run in their order. Raises InputError, DataError and TrainingError as the run would.

    Rows that are yet to be made are only known by what `lorag data make` would ask for.
    """
    require_roles(spec)
    if not spec.data:
        return _before_rows(settings, spec)
    data = rows_folder(settings, spec)
    left, spent, planned = [*(role.value for role in spec.roles), EVALUATE, INDEX], 0.0, []
    for role in spec.roles:
        estimate = plan_adapter(settings, registry, training_spec(data, registry, role, spec)).seconds
        rows, seconds = len(data.rows("train", role)), estimate
        if spec.minutes:
            within = share_of(role.value, left, 60 * spec.minutes, spent)
            fitting = rows_within(within, estimate, rows) or rows
            rows, seconds = fitting, estimate * fitting / rows
        planned.append(StagePlan(role.value, rows, seconds))
        left.remove(role.value)
        spent += seconds
    for stage in (EVALUATE, INDEX):
        planned.append(StagePlan(stage, 0, share_of(stage, left, 60 * spec.minutes, spent) if spec.minutes else None))
        left.remove(stage)
        spent += planned[-1].seconds or 0.0
    return tuple(planned)


def _before_rows(settings: Settings, spec: LoopSpec) -> tuple[StagePlan, ...]:
    """The stages of a run that makes its rows: questions and time of the making, and the others' shares of what is left."""
    left = [MAKE, *(role.value for role in spec.roles), EVALUATE, INDEX]
    limit = 60 * spec.minutes
    bound = share_of(MAKE, left, limit, 0.0) / 60 if spec.minutes else None
    making = plan_making(settings, MakingSpec(Path(MAKE), minutes=bound))
    planned = [StagePlan(MAKE, making.questions, 60 * making.minutes)]
    spent = planned[0].seconds or 0.0
    while left := left[1:]:
        planned.append(StagePlan(left[0], 0, share_of(left[0], left, limit, spent) if spec.minutes else None))
        spent += planned[-1].seconds or 0.0
    return tuple(planned)


def require_roles(spec: LoopSpec) -> None:
    """Raises InputError if there is nothing to tune."""
    if not spec.roles:
        raise InputError("name at least one role to tune")
