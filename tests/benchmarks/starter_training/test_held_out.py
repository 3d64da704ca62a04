"""The public tasks of a role: one a set, of the held-out split."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.starter_training.held_out import public_tasks
from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.records import Role


@pytest.mark.parametrize(
    ("role", "names"),
    [
        (Role.REWRITER, ["rewrite_canard", "rewrite_cast", "rewrite_ikat23"]),
        (Role.SYNTHESIZER, ["squad_newwiki", "squad_reddit", "qed_nq", "pubmedqa"]),
    ],
)
def test_a_task_is_a_set(role: Role, names: list[str], data: Path) -> None:
    found = public_tasks(role, data, 3)
    assert [task.name for task in found] == names
    assert all(0 < task.items <= 3 and task.origin is DataOrigin.HUMAN for task in found)
