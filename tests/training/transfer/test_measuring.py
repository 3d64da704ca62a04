"""The tasks of a role: public sets if there is a folder of them, then the invented; each is named and counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.records import Role
from lorag.training.transfer.measuring import tasks


@pytest.mark.parametrize(
    ("role", "public", "invented"),
    [
        (Role.REWRITER, ["rewrite_canard", "rewrite_cast", "rewrite_ikat23"], ["invented conversations"]),
        (Role.SYNTHESIZER, ["squad_newwiki", "squad_reddit", "qed_nq", "pubmedqa"], ["invented documents"]),
    ],
)
def test_the_tasks_of_a_role(role: Role, public: list[str], invented: list[str], data: Path) -> None:
    found = tasks(role, data, 3)
    assert [task.name for task in found] == [*public, *invented]
    assert [task.origin for task in found] == [DataOrigin.HUMAN] * len(public) + [DataOrigin.MADE]
    assert all(0 < task.items <= 3 for task in found)
    assert [task.name for task in tasks(role, None, 3)] == invented


def test_the_judge_without_public_sets_is_measured_on_invented_documents() -> None:
    assert [task.name for task in tasks(Role.JUDGE, None, 3)] == [
        "answerability, invented documents",
        "support, invented documents",
    ]
