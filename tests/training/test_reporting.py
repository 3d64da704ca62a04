"""What trackers are sent: named figures and settings; no text of rows, no path of this machine, nothing of its environment."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.records import Message
from lorag.training.contrastive import Encoder, train_embedder
from lorag.training.data.negatives import Negatives
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.recipe import EmbeddingRecipe, RewriterRecipe, changed
from lorag.training.recipe_parts import Stopping
from lorag.training.reporting import Reporter, recipe_facts
from lorag.training.sft import Example, train_adapter

tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed: pip install tensorboard"
)
EXAMPLES = [Example(f"row {n}", (Message("user", f"Where is room {n}, Zanzibar?"),), f"Quokka {n}.") for n in range(4)]
SETTINGS = changed(
    RewriterRecipe(role="rewriter"),
    rank=4,
    batch_size=2,
    max_steps=3,
    precision=Precision.FP32,
    compute="float32",
    report_to=("tensorboard",),
)


class Fixed:
    metric = "ROUGE-1"

    def measure(self, engine: Any, adapter: str) -> dict[str, float]:
        return {"ROUGE-1": 0.25}


def sent(run_folder: Path) -> tuple[dict[str, list[tuple[int, float]]], set[str], bytes]:
    """Figures by tag, names of all other tags, and every byte that was written."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    figures: dict[str, list[tuple[int, float]]] = {}
    others: set[str] = set()
    files = sorted(path for path in (run_folder / "tensorboard").rglob("*") if path.is_file())
    for path in files:
        if "tfevents" not in path.name:
            continue
        events = EventAccumulator(str(path)).Reload()
        tags = events.Tags()
        for tag in tags["scalars"]:
            figures.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
        others |= {*tags["tensors"], *tags["images"], *tags["audio"], *tags["histograms"]}
        assert not tags["graph"]
    return figures, others, b"".join(path.read_bytes() for path in files)


def assert_nothing_else(content: bytes, *secrets: str) -> None:
    for secret in secrets:
        assert secret.encode() not in content
    for name, value in os.environ.items():
        if len(value) > 8:
            assert value.encode() not in content, name


@tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_gets_the_figures_of_a_supervised_run_and_no_more(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAG_TEST_SECRET", "sesame-open-9137")
    base = resolve_base(str(tiny_base))
    settings = changed(SETTINGS, dev=Stopping(every=2))
    run = train_adapter(EXAMPLES, base, settings, tmp_path / "run", dev=Fixed())
    figures, others, content = sent(tmp_path / "run")
    assert set(figures) == {"loss", "learning_rate", "grad_norm", "epoch", "dev ROUGE-1"}
    assert [step for step, _ in figures["loss"]] == [1, 2, 3]
    assert [value for _, value in figures["loss"]] == pytest.approx([loss for _, loss in run.losses], rel=1e-4)
    assert figures["dev ROUGE-1"] == [(2, 0.25), (3, 0.25)]
    assert others <= {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"}
    assert b"learning_rate" in content and b"all-linear" in content
    assert_nothing_else(content, "Zanzibar", "Quokka", str(tmp_path), str(tiny_base), str(Path.cwd()), "sesame-open-9137")


@tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_gets_the_figures_of_a_contrastive_run_and_no_more(tiny_encoder: Path, tmp_path: Path) -> None:
    passages = [PassageRow(f"p{n}", "Wombat", f"Passage number {n} of the numbat.") for n in range(4)]
    rows = [EmbedRow(f"q{n}", f"numbat {n}", (f"p{n}",)) for n in range(4)]
    settings = changed(
        EmbeddingRecipe(role="embedder"),
        rank=4,
        batch_size=4,
        max_steps=2,
        negatives=Negatives.NONE,
        negatives_per_query=0,
        report_to=("tensorboard",),
    )
    run = train_embedder(rows, passages, Encoder(str(tiny_encoder)), settings, tmp_path / "run")
    figures, _, content = sent(tmp_path / "run")
    assert [value for _, value in figures["loss"]] == pytest.approx([point.loss for point in run.loss_curve], rel=1e-3)
    assert_nothing_else(content, "umbat", str(tmp_path), str(tiny_encoder), str(Path.cwd()))


def test_facts_are_numbers_flags_and_names_of_a_choice() -> None:
    instructed = changed(EmbeddingRecipe(role="embedder"), targets=("query", "/etc/passwd"), instruction="secret", batch_size=32)
    facts = recipe_facts(instructed)
    assert facts["contrast.negatives"] == "mined" and facts["optimiser.batch_size"] == 32
    assert facts["contrast.query_side_only"] is False
    assert facts["lora.targets"] == "query" and "secret" not in repr(facts) and "contrast.instruction" not in facts
    assert recipe_facts(RewriterRecipe(role="rewriter"))["precision"] == "nf4"


class Tracker:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.logged: list[tuple[int | None, Mapping[str, float]]] = []
        self.finished = 0

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_figures_without_a_name_are_left_out() -> None:
    tracker, reporter = Tracker(), Reporter((), Path("run"), {})
    reporter._trackers.append(tracker)
    reporter.send(3, {"loss": 1.0, "dev F1": 0.5, "row 7": 2.0, "output_dir": 3.0})
    reporter.close()
    reporter.close()
    assert tracker.logged == [(3, {"loss": 1.0, "dev F1": 0.5})] and tracker.finished == 1


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("comet_ml",), "report_to 'comet_ml': LoRAG reports to tensorboard, wandb, mlflow; others gather facts of their own"),
        (("clearml",), "report_to 'clearml'"),
    ],
)
def test_other_trackers_are_refused_before_anything_is_loaded(
    names: Sequence[str], reason: str, tiny_base: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=reason):
        train_adapter(EXAMPLES, resolve_base(str(tiny_base)), changed(SETTINGS, report_to=tuple(names)), tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed here")
def test_a_tracker_that_is_not_installed(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="report_to 'wandb': it is not installed; pip install wandb"):
        train_adapter(EXAMPLES, resolve_base(str(tiny_base)), changed(SETTINGS, report_to=("wandb",)), tmp_path)
