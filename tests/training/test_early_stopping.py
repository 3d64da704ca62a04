"""Early stopping: what is measured, which checkpoint is kept, and that neither a kill nor the measuring itself changes a run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.protocol import Engine, Generation
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.records import Message
from lorag.training.early_stopping import best_of
from lorag.training.progress import Progress
from lorag.training.recipe import RewriterRecipe, changed
from lorag.training.recipe_parts import Stopping
from lorag.training.sft import Example, TrainedAdapter, train_adapter

PAIRS = (
    ("Where does it leave?", "From the north quay."),
    ("Who keeps the key?", "The porter."),
    ("And at night?", "Ring twice."),
)
EXAMPLES = [Example(f"row {n}", (Message("user", question),), reply) for n, (question, reply) in enumerate(PAIRS)]
SETTINGS = changed(
    RewriterRecipe(role="rewriter"),
    rank=8,
    alpha=16,
    dropout=0.1,  # so that a disturbed random generator shows in the curve
    learning_rate=1e-2,
    batch_size=2,
    max_steps=12,
    checkpoint_every=50,
    precision=Precision.FP32,
    compute="float32",
)
STOPPING = Stopping(every=3, patience=2)


@dataclass(frozen=True)
class Letters:
    """Share of the replies' letters, an item each; `plan` overrides it by how often it was measured, `seen` keeps what was."""

    plan: tuple[float, ...] = ()
    metric: str = "letters"
    seen: list[float] = field(default_factory=list, repr=False, compare=False)

    def measure(self, engine: Engine, adapter: str) -> dict[str, float]:
        replies = engine.generate([Generation(each.messages, adapter, 12) for each in EXAMPLES])
        right = [
            len(set(reply.text) & set(each.target)) / len(set(each.target)) for reply, each in zip(replies, EXAMPLES, strict=True)
        ]
        value = self.plan[len(self.seen)] if self.plan else sum(right) / len(right)
        self.seen.append(value)
        return {"letters": value, "items": float(len(replies))}


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return dataclasses.replace(resolve_base(str(tiny_base)), id="tiny")


def weights(run: TrainedAdapter) -> bytes:
    return (run.folder / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("change", [{}, {"precision": Precision.NF4}, {"gradient_checkpointing": True, "activated": True}])
def test_measuring_leaves_the_run_as_it_was(change: Mapping[str, object], base: Base, tmp_path: Path) -> None:
    settings = changed(SETTINGS, **change)  # type: ignore[arg-type]
    alone = train_adapter(EXAMPLES, base, settings, tmp_path / "alone")
    patient = changed(settings, dev=Stopping(every=2, patience=99))
    dev = Letters(plan=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    measured = train_adapter(EXAMPLES, base, patient, tmp_path / "measured", dev=dev)
    assert measured.losses == alone.losses and weights(measured) == weights(alone)
    assert measured.dev == {"letters": 0.6, "items": 3.0, "best step": 12.0} and alone.dev == {}


def test_patience_ends_the_run_and_the_best_checkpoint_is_what_is_saved(base: Base, tmp_path: Path) -> None:
    dev = Letters(plan=(0.2, 0.7, 0.7, 0.1))
    run = train_adapter(EXAMPLES, base, changed(SETTINGS, max_steps=30, dev=STOPPING), tmp_path / "run", dev=dev)
    assert run.steps == 12 and len(dev.seen) == 4  # an equal figure is no better one
    assert run.dev == {"letters": 0.7, "items": 3.0, "best step": 6.0}
    kept = sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*"))
    assert kept == ["checkpoint-12", "checkpoint-6", "checkpoint-9"]
    from safetensors.torch import load_file

    stored = load_file(str(tmp_path / "run" / "checkpoint-6" / "adapter_model.safetensors"))
    saved = load_file(str(run.folder / "adapter_model.safetensors"))
    assert stored.keys() == saved.keys() and all((stored[name].half() == saved[name]).all() for name in stored)


def stop_at(step: int) -> Callable[[Progress], None]:
    def on_progress(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return on_progress


@pytest.fixture(scope="module")
def whole(base: Base, tmp_path_factory: pytest.TempPathFactory) -> TrainedAdapter:
    """A run that nobody killed."""
    return train_adapter(EXAMPLES, base, changed(SETTINGS, dev=STOPPING), tmp_path_factory.mktemp("whole"), dev=Letters())


@pytest.mark.parametrize("killed_at", [5, 8, 11])
def test_a_killed_run_goes_on_to_the_same_curve_and_the_same_choice(
    killed_at: int, whole: TrainedAdapter, base: Base, tmp_path: Path
) -> None:
    settings = changed(SETTINGS, dev=STOPPING)
    with pytest.raises(KeyboardInterrupt):
        train_adapter(EXAMPLES, base, settings, tmp_path / "cut", dev=Letters(), on_progress=stop_at(killed_at))
    resumed = train_adapter(EXAMPLES, base, settings, tmp_path / "cut", dev=Letters(), resume=True)
    assert (resumed.losses, resumed.dev, resumed.steps) == (whole.losses, whole.dev, whole.steps)
    assert weights(resumed) == weights(whole)


def test_a_run_that_had_stopped_trains_no_further(base: Base, tmp_path: Path) -> None:
    settings = changed(SETTINGS, max_steps=30, dev=STOPPING)
    plan = (0.5, 0.2, 0.1)
    first = train_adapter(EXAMPLES, base, settings, tmp_path, dev=Letters(plan))
    again = train_adapter(EXAMPLES, base, settings, tmp_path, dev=Letters(plan), resume=True)
    assert first.steps == again.steps == 9 and again.losses == first.losses and again.dev == first.dev
    assert weights(again) == weights(first)


def test_other_dev_items_are_another_run(base: Base, tmp_path: Path) -> None:
    settings = changed(SETTINGS, max_steps=3, dev=STOPPING)
    train_adapter(EXAMPLES, base, settings, tmp_path, dev=Letters((0.5,)))
    with pytest.raises(TrainingError, match="belongs to a run with other settings or data"):
        train_adapter(EXAMPLES, base, settings, tmp_path, dev=Letters((0.6,)), resume=True)


def test_stopping_without_items_is_refused(base: Base, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="early stopping needs dev items and an adapter"):
        train_adapter(EXAMPLES, base, changed(SETTINGS, dev=STOPPING), tmp_path)


def test_the_first_of_equal_figures_is_the_best() -> None:
    history = [
        {"loss": 2.0, "step": 2},
        {"dev F1": 0.4, "dev n": 3.0, "step": 2},
        {"dev F1": 0.6, "dev n": 3.0, "step": 4},
        {"dev F1": 0.6, "dev n": 2.0, "step": 6},
        {"dev F1": 0.5, "dev n": 3.0, "step": 8},
    ]
    best = best_of(history, "F1")
    assert best is not None and (best.step, best.since, best.figures) == (4, 2, {"F1": 0.6, "n": 3.0})
    assert best_of(history[:1], "F1") is None
    assert json.loads(json.dumps(history)) == history  # as a checkpoint holds it


def test_a_figure_over_fewer_items_is_not_the_best_one() -> None:
    history = [
        {"dev F1": 0.4, "dev failed": 1.0, "step": 2},
        {"dev F1": 0.9, "dev failed": 3.0, "step": 4},  # what is left of the items is easier
        {"dev F1": 0.5, "dev failed": 1.0, "step": 6},
        {"dev F1": 0.5, "dev failed": 2.0, "step": 8},
    ]
    best = best_of(history, "F1")
    assert best is not None and (best.step, best.since) == (6, 1) and best.figures == {"F1": 0.5, "failed": 1.0}
