"""One starter: mixture → examples → adapter, by the recipe of its role."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from pipeline.engine.bases import resolve_base
from pipeline.records import Role
from training.progress import Progress
from training.recipe import load_recipe
from training.sft import Example, TrainedAdapter, train_adapter
from training.starters.mixtures import judge_examples, rewriter_examples, synthesizer_examples
from training.starters.sources import Split

BASE = "smollm2-135m"

EXAMPLES: dict[Role, Callable[[Path, Split, int], list[Example]]] = {
    Role.REWRITER: rewriter_examples,
    Role.SYNTHESIZER: synthesizer_examples,
    Role.JUDGE: judge_examples,
}


def starter_recipe(role: Role) -> Path:
    """The recipe that a bundled starter was trained with."""
    return Path(str(resources.files("training.starters") / f"{role.value}.yaml"))


def train_starter(role: Role, data: Path, out: Path, *, recipe: Path | None = None, resume: bool = False) -> TrainedAdapter:
    """Train the starter of `role` in the run folder `out`. Raises DataError, TrainingError, ConfigError."""
    chosen = load_recipe(role, recipe or starter_recipe(role))
    examples = EXAMPLES[role](data, "train", chosen.optimiser.seed)
    print(f"{len(examples)} examples", file=sys.stderr)
    return train_adapter(
        examples,
        resolve_base(BASE),
        chosen.sft(),
        out,
        resume=resume,
        on_progress=_tell,
        on_notice=lambda line: print(line, file=sys.stderr),
    )


def _tell(progress: Progress) -> None:
    if progress.step % 10 == 0 or progress.step == progress.total:
        left = f", {progress.seconds_left / 60:.0f} min left" if progress.seconds_left is not None else ""
        print(f"step {progress.step} of {progress.total}: loss {progress.loss:.3f}{left}", file=sys.stderr)
