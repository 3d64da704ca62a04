"""Training, measuring, promoting and rolling back through one open project, on tiny real models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lorag
import lorag.assembly
import lorag.parts
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Role
from tests.services.conftest import write_rewriter_rows

RECIPE = """
role: rewriter
precision: fp32
lora: {rank: 4, dropout: 0, targets: [q_proj, v_proj, down_proj]}
optimiser: {learning_rate: 2.0e-2, warmup_share: 0, batch_size: 2, max_steps: 2}
"""
THINGS = {"train": ("key", "bell", "ferry", "quay"), "dev": ("porter", "room"), "test": ("bridge", "crane", "buoy", "mast")}
HISTORY = ("User: Who keeps the key?", "Assistant: The porter.")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rewriter_rows(tmp_path / "data", THINGS, RECIPE)


@pytest.fixture
def opened(project: Any) -> Iterator[lorag.Project]:
    with lorag.open(project.folder) as found:
        found.ingest()
        yield found


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts the bases that a project loads."""
    names: list[str] = []
    load = lorag.assembly.open_base
    monkeypatch.setattr(lorag.parts, "open_base", lambda settings: (names.append(settings.base.model), load(settings))[1])
    return names


def rewriter_of(opened: lorag.Project) -> str:
    """Whose rewrite the next question gets."""
    stages = opened.ask("And at night?", HISTORY).trace.stages
    return next(record.adapter for record in stages if record.stage == "rewrite")


def test_what_is_promoted_answers_the_next_question_on_the_same_base(
    opened: lorag.Project, publish_rewriter: Any, loaded: list[str]
) -> None:
    assert rewriter_of(opened) == "base"
    first = publish_rewriter(3)
    assert opened.promote("rewriter").production == first
    assert rewriter_of(opened) == f"rewriter-{first}"
    opened.ingest(rebuild=True)
    assert rewriter_of(opened) == f"rewriter-{first}"
    assert len(loaded) == 1
    with pytest.raises(AdapterError, match="no rewriter adapter is previous"):
        opened.rollback("rewriter")
    assert rewriter_of(opened) == f"rewriter-{first}"
    listed = opened.adapters("rewriter")
    assert [(each.version.id, each.version.aliases, each.problem) for each in listed] == [(first, ("production",), "")]
    assert listed[0].card is not None and listed[0].card.role is Role.REWRITER


def test_training_lets_go_of_the_models_and_the_candidate_is_measured(
    opened: lorag.Project, data: Path, loaded: list[str]
) -> None:
    assert rewriter_of(opened) == "base"
    recipe = data / "recipe.yaml"
    plan = opened.plan("rewriter", data, recipe=recipe)
    assert (plan.rows, plan.steps) == (4, 2)
    assert opened.registry.list() == ()
    steps: list[int] = []
    version = opened.train("rewriter", data, recipe=recipe, on_progress=lambda at: steps.append(at.step))
    assert (steps, version.aliases) == ([1, 2], ("candidate",))
    assert opened.run_folder("rewriter").name == "rewriter-0002"
    assert opened.run_folder("rewriter", resume=True).name == "rewriter-0001"
    told: list[tuple[int, int]] = []
    found = opened.evaluate_adapter("rewriter", data, on_progress=lambda what, done, total: told.append((done, total)))
    assert (found.version.id, found.general) == (version.id, None)
    assert {claim.n for claim in found.claims} == {len(THINGS["test"])}
    assert found.claims == opened.registry.show(Role.REWRITER, version.id).evidence
    assert told[-1][0] == told[-1][1]
    assert rewriter_of(opened) == "base"  # nothing was promoted
    assert len(loaded) == 2  # before the training, and after it


def test_the_index_follows_the_embedder(opened: lorag.Project, publish_embedder: Any) -> None:
    """The project's index is open meanwhile, and nobody else may open it."""
    assert opened.retriever.invoke("Who keeps the key?")
    version = publish_embedder(5)
    switch = opened.promote("embedder")
    assert switch.production == version
    assert "lorag ingest --rebuild" in switch.index
    opened.ingest(rebuild=True)
    (record,) = [each for each in opened.ask("Who keeps the key?").trace.stages if each.stage == "retrieve"]
    assert record.adapter == f"embedder-{version}"
