"""The page's comparisons of an adapter on its own metric, as its claims have them.

The card of a decision, the headline and the table of floors show the same difference. If a claim was made of it, all show the
claim's interval, at the level of its look: else one could say "better" where another says "not shown".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lorag.evaluating.floor_figures import FloorFigures, win
from lorag.pipeline.adapters.evidence import BARE_BASE, Evidence, floor_reference
from lorag.pipeline.evaluation.report.records import Comparison, FloorComparison
from lorag.pipeline.records import Role

Claims = Mapping[Role, Sequence[Evidence]]


def comparisons_as_claimed(comparisons: Sequence[Comparison], claims: Claims) -> tuple[Comparison, ...]:
    """The comparisons with the base, those that a claim was made of with its figures."""
    return tuple(_comparison(each, _claim(claims, each.role, each.metric, BARE_BASE.key)) for each in comparisons)


def floors_as_claimed(figures: FloorFigures, claims: Claims) -> FloorFigures:
    """The comparisons with the best floors, those that a claim was made of with its figures."""
    found = tuple(
        _floor(each, _claim(claims, each.role, each.metric, floor_reference(each.floor).key)) for each in figures.comparisons
    )
    changed = replace(figures, comparisons=found)
    return replace(changed, wins=tuple(map(win, changed.winners)))


def _claim(claims: Claims, role: str, metric: str, against: str) -> Evidence | None:
    own = next((found for each, found in claims.items() if each.value == role), ())
    return next((each for each in own if (each.metric, each.against.key) == (metric, against)), None)


def _comparison(each: Comparison, claim: Evidence | None) -> Comparison:
    return each if claim is None else replace(each, base=claim.reference, **_figures(claim))


def _floor(each: FloorComparison, claim: Evidence | None) -> FloorComparison:
    """In the metrics that claims are made of, more is better."""
    return each if claim is None else replace(each, reference=claim.reference, beaten=claim.shows_gain, **_figures(claim))


def _figures(claim: Evidence) -> dict[str, Any]:
    """What both kinds of comparison show of a claim, under the names that they share."""
    shared = ("tuned", "difference", "low", "high", "n", "level")
    return {name: getattr(claim, name) for name in shared} | {"groups": claim.groups or 0}
