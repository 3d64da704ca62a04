"""`lorag train --dry-run` and `--max-memory`: what is shown, that nothing is written, and that batches are cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from tests.services.conftest import write_rewriter_rows

RECIPE = """
role: rewriter
precision: fp32
lora: {rank: 4, targets: [q_proj, v_proj]}
optimiser: {batch_size: 4, epochs: 2, warmup_share: 0}
"""
THINGS = {"train": ("key", "bell", "ferry", "quay"), "dev": ("porter",)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rewriter_rows(tmp_path / "data", THINGS, RECIPE)


@pytest.fixture
def train(lorag, project, data: Path) -> Callable[..., Any]:
    def run(*options: object) -> Any:
        return lorag("train", "rewriter", "--data", data, "--recipe", data / "recipe.yaml", "--project", project.folder, *options)

    return run


def test_a_dry_run_tells_what_the_run_needs_and_writes_nothing(train, project) -> None:
    before = project.files()
    done = train("--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "1,792 (" in done.out
    assert "4, 4 at a time" in done.out
    assert "Peak memory: about" in done.out
    told = train("--dry-run", "-o", "json").json()
    assert told["trainable"] == 2 * 4 * ((64 + 64) + (64 + 32))
    assert (told["rows"], told["steps"], told["batch_size"], told["accumulate"]) == (4, 2, 4, 1)
    parts = dict(told["memory"])
    total = parts.pop("total")
    assert total == sum(parts.values()) - min(parts["logits"], parts["workspace"])
    assert project.files() == before
    assert Registry(project.adapters).list(Role.REWRITER) == ()


def test_memory_cuts_the_batches_of_a_run(train, project) -> None:
    whole = train("--dry-run", "-o", "json").json()["memory"]["total"]
    cut = train("--dry-run", "--max-memory", f"{whole - 1}", "-o", "json").json()
    assert cut["batch_size"] * cut["accumulate"] == 4
    assert cut["batch_size"] < 4
    done = train("--max-memory", f"{whole - 1}", "-o", "json")
    assert done.code == 0
    assert f"rows a step: 4, {cut['batch_size']} at a time" in done.err
    steps = (Path(done.json()["run"]) / "loss.jsonl").read_text().splitlines()
    assert len(steps) == 2


def test_what_does_not_fit_is_refused_with_the_smallest_need(train, project) -> None:
    before = project.files()
    assert "micro-batches of 1 the run needs about" in train("--max-memory", "100MiB").error_line
    assert "such as 6GiB" in train("--dry-run", "--max-memory", "plenty").error_line
    assert project.files() == before
