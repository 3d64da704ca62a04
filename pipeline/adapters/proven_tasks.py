"""The judge tasks in which a card shows its adapter to be better than a floor. Knows no model and no store.

A verdict on another task is a guess that looks like one: whoever shows verdicts to users leaves its label out. To be better than
the bare base proves nothing: a rule of one line may be better than both.
"""

from __future__ import annotations

from collections.abc import Iterable

from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.evidence import DataOrigin, Evidence, EvidenceKind

TASK_F1 = "macro-F1, "
"""What begins the name of a task's macro-F1; the task follows."""


def proven_tasks(card: AdapterCard, tasks: Iterable[str]) -> frozenset[str]:
    """Those of `tasks` whose newest held-out claim against the task's best floor, on rows that were not made and on enough
    groups, shows the adapter to be better."""
    return frozenset(task for task in tasks if (claim := _claim_on(card, task)) is not None and claim.low > 0)


def _claim_on(card: AdapterCard, task: str) -> Evidence | None:
    held_out = [each for each in card.evidence if each.kind is EvidenceKind.HELD_OUT and each.data.origin is not DataOrigin.MADE]
    over_floor = [each for each in held_out if each.metric == TASK_F1 + task and each.against.is_floor]
    return next((each for each in over_floor if each.has_enough_groups), None)
