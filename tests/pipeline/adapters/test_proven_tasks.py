"""In which tasks a judge's card shows it to be better than a floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lorag.pipeline.adapters.card import AdapterCard, read_card
from lorag.pipeline.adapters.evidence import DataOrigin, Evidence, EvidenceKind, floor_reference
from lorag.pipeline.adapters.proven_tasks import proven_tasks
from lorag.pipeline.records import Role
from tests.claims import claim

Plain, Card = Callable[[int], Path], Callable[[Path], AdapterCard]
TASKS = ("intent", "relevance", "answerability", "support")
FLOOR = floor_reference("most frequent label")


def over_floor(low: float, **more: object) -> Evidence:
    return claim("macro-F1, support", low, against=FLOOR, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("claims", "proven"),
    [
        ([], set()),
        ([over_floor(0.1)], {"support"}),
        ([over_floor(0.0)], set()),
        ([over_floor(-0.1), over_floor(0.1, data="older")], set()),
        ([over_floor(0.1, groups=7)], set()),
        ([over_floor(0.1, origin=DataOrigin.MADE)], set()),
        ([over_floor(0.1, kind=EvidenceKind.TRANSFER)], set()),
        ([claim("macro-F1, support", 0.1)], set()),  # against the bare base
        ([claim("macro-F1", 0.1), claim("mean task macro-F1", 0.1, against=FLOOR)], set()),  # says nothing of one task
        ([claim("macro-F1", 0.1, data="intent (hwu64)", groups=None)], set()),  # a starter's, against the bare base
        ([over_floor(-0.1), claim("macro-F1", 0.1, data="support")], set()),  # the floor decides
    ],
)
def test_the_newest_claim_on_the_task_decides(
    claims: list[Evidence], proven: set[str], plain_card: Card, plain_adapter: Plain
) -> None:
    card = replace(plain_card(plain_adapter(1)), role=Role.JUDGE, evidence=tuple(claims))
    assert proven_tasks(card, TASKS) == proven


def test_the_starter_is_compared_with_the_bare_base_alone_which_proves_nothing() -> None:
    card = read_card(Path(__file__).resolve().parents[3] / "pipeline" / "adapters" / "starters" / "judge")
    assert any(each.low > 0 for each in card.evidence) and not any(each.against.is_floor for each in card.evidence)
    assert proven_tasks(card, TASKS) == set()
