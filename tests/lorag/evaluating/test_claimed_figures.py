"""One interval of one difference on the page: what a claim was made of stands everywhere as in the claim."""

from __future__ import annotations

from lorag.evaluating.claimed_figures import comparisons_as_claimed, floors_as_claimed
from lorag.evaluating.floor_figures import FloorFigures
from lorag.pipeline.adapters.evidence import BARE_BASE, Evidence, floor_reference
from lorag.pipeline.evaluation.report.records import Comparison, FloorComparison
from lorag.pipeline.records import Role
from tests.claims import claim

BASE = Comparison("judge", "mean task macro-F1", 0.3, 0.5, 0.2, 0.01, 0.39, 40, groups=10)
CHAIN = Comparison("chain", "F1", 0.3, 0.5, 0.2, 0.01, 0.39, 40, groups=10)
FLOOR = FloorComparison("judge", "mean task macro-F1", "best", 0.3, 0.5, 0.2, 0.01, 0.39, 40, 10, True)
OTHER = FloorComparison("chain", "F1", "best", 0.3, 0.5, 0.2, 0.01, 0.39, 40, 10, True)


def wide(against: str = "") -> Evidence:
    """At the third look: what 95 % shows, 99.6 % does not."""
    reference = floor_reference(against) if against else BARE_BASE
    return claim("mean task macro-F1", -0.1, 0.5, reference=0.3, n=44, groups=10, against=reference, level=1 - 0.05 / 12, look=3)


def test_a_difference_that_its_claim_does_not_show_is_shown_nowhere() -> None:
    claims = {Role.JUDGE: (wide(), wide("best"))}
    first, chain = comparisons_as_claimed([BASE, CHAIN], claims)
    assert (first.low, first.high, first.level, first.n, first.shown) == (-0.1, 0.5, 1 - 0.05 / 12, 44, False)
    assert chain == CHAIN
    found = floors_as_claimed(FloorFigures(comparisons=(FLOOR, OTHER)), claims)
    floor, other = found.comparisons
    assert (floor.low, floor.level, floor.beaten, floor.shown) == (-0.1, 1 - 0.05 / 12, False, False)
    assert other == OTHER and found.winners == (floor,)
    (line,) = found.wins
    assert "A floor wins: judge by mean task macro-F1" in line and "-0.100 to +0.500, 44 items" in line


def test_what_no_claim_was_made_of_stays() -> None:
    """A claim of another metric, of another role or against another floor is of another difference."""
    others = {Role.JUDGE: (claim("macro-F1, intent", -0.1, 0.5), wide("another")), Role.SYNTHESIZER: (wide(),)}
    assert comparisons_as_claimed([BASE, CHAIN], others) == (BASE, CHAIN)
    assert floors_as_claimed(FloorFigures(comparisons=(FLOOR,)), others).comparisons == (FLOOR,)
