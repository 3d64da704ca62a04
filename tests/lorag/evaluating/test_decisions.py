"""The card of a measured adapter: its decision is the gate's, its figures are the claims', its cost is the run's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorag.assembly import version_name
from lorag.evaluating.decisions import decision_card
from lorag.pipeline.adapters.canaries import CANARY_FILE, Canary, canaries_json
from lorag.pipeline.adapters.evidence import DataOrigin, Evidence, floor_reference
from lorag.pipeline.adapters.guards import GUARD_LEVEL
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.evaluation.journal import Usage
from lorag.pipeline.evaluation.report.decision import Cost, Decision
from lorag.pipeline.records import Message, Role
from tests.claims import claim, measurement, speak_for

ROLE = Role.SYNTHESIZER


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "adapters")


@pytest.fixture
def publish(registry: Registry, tiny_base: Path, tiny_adapter: Any, tiny_card: Any) -> Callable[[int], Version]:
    def do(seed: int) -> Version:
        folder = tiny_adapter(tiny_base, seed, ROLE)
        (folder / CANARY_FILE).write_text(canaries_json([Canary((Message("user", "Who?"),), "The porter.", -0.5, -3.0)]))
        card = tiny_card(folder, Base("tiny", "nowhere", "0123456789abcdef"), ROLE)
        return registry.publish(ROLE, folder, replace(card, evidence=()))

    return do


def would_promote(registry: Registry, version: Version) -> bool:
    """Whether the gate itself lets it serve, by the claims on its card."""
    try:
        registry.admitted(version.role, version.id)
    except AdapterError:
        return False
    return True


def guard(metric: str, difference: float, half: float = 0.05, **more: Any) -> Evidence:
    return claim(metric, difference - half, difference + half, level=GUARD_LEVEL, **more)


BETTER = measurement(ROLE)
CITATIONS = guard("citation precision", -0.2)
CASES: dict[str, tuple[list[Evidence], Decision]] = {
    "better than all": ([*BETTER, guard("citation precision", 0.1)], Decision.PROMOTE),
    "a guard is lost": ([*BETTER, CITATIONS], Decision.HOLD),
    "a loss within its margin": ([*BETTER, guard("citation precision", -0.04, 0.01)], Decision.PROMOTE),
    "a floor wins": ([*BETTER[:2], *(replace(each, low=-0.1) for each in BETTER[2:])], Decision.REJECT),
    "a floor wins and a guard is lost": (
        [*BETTER[:2], *(replace(each, low=-0.1) for each in BETTER[2:]), CITATIONS],
        Decision.REJECT,
    ),
    "no comparison with a no-op": (BETTER[:1], Decision.HOLD),
    "too few groups": ([replace(each, groups=7) for each in BETTER], Decision.HOLD),
    "too few groups, and not better": ([replace(each, groups=7, low=-0.1) for each in BETTER], Decision.HOLD),
    "look 2 at the level of look 1": ([replace(each, look=2) for each in BETTER], Decision.HOLD),
}


@pytest.mark.parametrize("case", CASES)
def test_the_card_says_promote_exactly_if_the_gate_would(
    case: str, registry: Registry, publish: Callable[[int], Version]
) -> None:
    claims, wanted = CASES[case]
    version = publish(1)
    card = decision_card(registry, version, claims)
    assert (card.decision, bool(card.reason)) == (wanted, wanted is not Decision.PROMOTE)
    registry.attach_evidence(ROLE, version.id, claims)
    assert would_promote(registry, version) is (wanted is Decision.PROMOTE)


def test_the_reason_is_the_gates_own_line(registry: Registry, publish: Callable[[int], Version]) -> None:
    version, claims = publish(1), [*BETTER, CITATIONS]
    card = decision_card(registry, version, claims)
    registry.attach_evidence(ROLE, version.id, claims)
    with pytest.raises(AdapterError) as caught:
        registry.promote(ROLE, version.id)
    assert card.reason == str(caught.value)


def test_the_hardest_comparator_stands_first_and_lost_guards_do(registry: Registry, publish: Callable[[int], Version]) -> None:
    hard = replace(BETTER[-1], against=floor_reference("kNN"), low=0.01)
    card = decision_card(registry, publish(1), [*BETTER, hard, guard("citation recall", 0.1), guard("words", 8.0), CITATIONS])
    assert [each.low for each in card.comparators] == sorted(each.low for each in card.comparators)
    first = card.comparators[0]
    assert (first.against, first.low, first.beaten, first.groups) == ("the floor “kNN”", 0.01, True, 10)
    assert [(each.metric, each.worse, each.lost) for each in card.guards] == [
        ("citation precision", True, True),
        ("words", True, False),
        ("citation recall", False, False),
    ]
    assert [each.margin for each in card.guards] == [0.05, 20.0, 0.05]
    assert card.look == 1
    assert card.looks.startswith("This is look 1 of this role at made-up test split")


def test_margins_of_the_project_are_those_of_the_card(
    tmp_path: Path, registry: Registry, publish: Callable[[int], Version]
) -> None:
    version = publish(1)
    lenient = Registry(registry.folder, {"citation precision": 0.3})
    card = decision_card(lenient, version, [*BETTER, CITATIONS])
    assert (card.decision, card.guards[0].margin, card.guards[0].lost) == (Decision.PROMOTE, 0.3, False)


def test_it_is_weighed_against_what_serves(registry: Registry, publish: Callable[[int], Version]) -> None:
    first, second = publish(1), publish(2)
    speak_for(registry, ROLE, first.id)
    registry.promote(ROLE, first.id)
    card = decision_card(registry, second, BETTER)
    assert (card.decision, card.serving) == (Decision.HOLD, False)
    assert "has no held-out comparison with that one" in card.reason
    over_it = measurement(ROLE, registry.as_reference(registry.serving(ROLE)))
    assert decision_card(registry, second, over_it).decision is Decision.PROMOTE
    own = decision_card(registry, registry.resolve(ROLE, first.id), BETTER)
    assert (own.decision, own.serving) == (Decision.PROMOTE, True)


@pytest.mark.parametrize("low", [0.1, -0.1])
def test_made_rows_promote_nothing(low: float, registry: Registry, publish: Callable[[int], Version]) -> None:
    made = measurement(ROLE, low=low, origin=DataOrigin.MADE)
    card = decision_card(registry, publish(1), made)
    assert card.decision is (Decision.HOLD if low > 0 else Decision.REJECT)
    assert "holds made rows, which promote nothing: measure" in card.reason


def test_a_reason_outside_the_evidence_holds_it(registry: Registry, publish: Callable[[int], Version]) -> None:
    card = decision_card(registry, publish(1), BETTER, refusal="lorag.yaml names another version")
    assert (card.decision, card.reason) == (Decision.HOLD, "lorag.yaml names another version")


def test_the_cost_is_the_adapters_own_beside_the_base_at_the_same_stage(
    registry: Registry, publish: Callable[[int], Version]
) -> None:
    version = publish(1)
    usage = (
        Usage("synthesize", version_name(version), 10, 900, 80, timed=8, seconds=4.0),
        Usage("synthesize", "base", 20, 1800, 200, timed=20, seconds=8.0),
        Usage("rewrite", "base", 5, 10, 10, timed=5, seconds=50.0),
        Usage("best sentence", "no model", 10, timed=10, seconds=0.1),
    )
    training = registry.show(ROLE, version.id).training
    assert decision_card(registry, version, BETTER, usage).cost == Cost(training.seconds, training.tokens, 10, 900, 80, 0.5, 0.4)
    assert decision_card(registry, version, BETTER).cost == Cost(training.seconds, training.tokens)
