"""Guards: what an adapter must not lose while its leading metric rises, each with the margin that it may lose.

A guard holds a candidate if the loss is beyond its margin and the 95 % interval of the loss excludes zero. On fewer groups than
decide, nothing tells a loss from noise: a loss beyond the margin holds then too, and any other guard has no verdict. Knows no
card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from lorag.pipeline.adapters.evidence import MIN_GROUPS, Evidence, EvidenceKind, floor_reference
from lorag.pipeline.records import Role

GUARD_LEVEL = 0.95
"""The level of a guard's interval. It does not grow with the looks: a stricter one would let more losses pass."""


class Reference(StrEnum):
    """What a guard's loss is against: what serves now, the version that serves if there is one, systems without training, or the
    bare encoder on a general set.

    Where what serves may be worthless (a base that cites nothing), a floor guards too. A base that does not do the task is no
    measure of the time that the task takes, so a version is asked for there.
    """

    SERVING = "serving"
    VERSION = "version"
    FLOORS = "floors"
    GENERAL = "general"


@dataclass(frozen=True, slots=True)
class Guard:
    """A metric with its `margin`, in the metric's units, or as a share of the reference's figure if it is `relative`.

    `metric` ends in a space if it is the beginning of several names. With `must_rise` the interval must lie above −margin: what
    the reference never does must be shown.
    """

    name: str
    metric: str
    margin: float
    reference: Reference = Reference.SERVING
    lower_is_better: bool = False
    relative: bool = False
    must_rise: bool = False

    def watches(self, claim: Evidence, serves: str) -> bool:
        """Whether the claim is of this guard; `serves` is the key of what serves."""
        named = claim.metric.startswith(self.metric) if self.metric.endswith(" ") else claim.metric == self.metric
        if self.reference is Reference.GENERAL:
            return named and claim.kind is EvidenceKind.GENERAL
        if claim.kind is EvidenceKind.GENERAL:
            return False
        floor = bool(claim.against.is_floor)
        if self.reference is Reference.FLOORS:
            return named and floor and self.must_rise == (claim.against.key == NEVER.key)
        return named and not floor and claim.against.key == serves and (bool(serves) or self.reference is Reference.SERVING)

    def allowed(self, claim: Evidence, margin: float) -> float:
        """The loss that is still within the margin, in the metric's units."""
        return margin * abs(claim.reference) if self.relative else margin

    def is_worse(self, claim: Evidence) -> bool:
        """Whether the interval shows a loss."""
        return claim.has_enough_groups and (claim.low > 0 if self.lower_is_better else claim.high < 0)

    def is_lost(self, claim: Evidence, margin: float) -> bool:
        """Whether the loss is beyond the margin and more than noise; on too few groups, whether it is beyond the margin."""
        loss, allowed = claim.difference if self.lower_is_better else -claim.difference, self.allowed(claim, margin)
        if self.must_rise:
            return claim.low <= -allowed if claim.has_enough_groups else loss >= allowed
        return loss > allowed and (self.is_worse(claim) or not claim.has_enough_groups)


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guard's claim and the margin that was asked for."""

    guard: Guard
    claim: Evidence
    margin: float

    @property
    def allowed(self) -> float:
        return self.guard.allowed(self.claim, self.margin)

    @property
    def is_worse(self) -> bool:
        return self.guard.is_worse(self.claim)

    @property
    def is_lost(self) -> bool:
        return self.guard.is_lost(self.claim, self.margin)


NEVER = floor_reference("never refusing")
"""A system that answers every question: by definition, none of its refusals is right."""

GUARDS: Mapping[Role, tuple[Guard, ...]] = {
    Role.SYNTHESIZER: (
        Guard("right answers", "right answers", 0.05),
        Guard("citation precision", "citation precision", 0.05),
        Guard("citation precision of the floor", "citation precision", 0.05, Reference.FLOORS),
        Guard("citation recall", "citation recall", 0.05),
        Guard("right refusals", "right refusals", 0.1),
        Guard("refusing at all", "right refusals", 0.0, Reference.FLOORS, must_rise=True),
        Guard("wrong refusals", "wrong refusals", 0.2, lower_is_better=True),
        Guard("supported answers", "supported answers", 0.05),
        Guard("values invented in answers", "values invented in answers", 0.1, Reference.FLOORS, lower_is_better=True),
        Guard("answer word order", "answer word order", 0.15, Reference.FLOORS),
        Guard("words", "words", 20.0, lower_is_better=True),
        Guard("latency", "latency by words", 0.1, Reference.VERSION, lower_is_better=True, relative=True),
    ),
    Role.REWRITER: (
        Guard("harm on standalone turns", "harm on standalone turns", 0.05, lower_is_better=True),
        Guard("rewrite word order", "rewrite word order", 0.1, Reference.FLOORS),
        Guard("values kept in rewrites", "values kept in rewrites", 0.1),
        Guard("values kept of questions", "values kept of questions", 0.15, Reference.FLOORS),
        Guard("values invented in rewrites", "values invented in rewrites", 0.05, Reference.FLOORS, lower_is_better=True),
        Guard("retrieval nDCG@10", "nDCG@10", 0.02, Reference.FLOORS),
        Guard("retrieval Recall@5", "Recall@5", 0.02, Reference.FLOORS),
    ),
    Role.EMBEDDER: (
        Guard("Recall@5", "Recall@5", 0.02),
        Guard("general set nDCG@10", "nDCG@10", 0.02, Reference.GENERAL),
    ),
    Role.JUDGE: (Guard("macro-F1 of a task", "macro-F1, ", 0.05),),
}
"""The guards of each role. ROUGE-1 and F1 count words in any order, so word order is guarded. They price a wrong number, a wrong
name or a "not" as one word, so values and right answers are."""

MARGINS: Mapping[str, float] = MappingProxyType({guard.name: guard.margin for each in GUARDS.values() for guard in each})
"""Name of a guard → its margin, unless `gate.margins` of lorag.yaml has another."""


def guarded(role: Role, claims: Iterable[Evidence], serves: str, margins: Mapping[str, float]) -> tuple[Guarded, ...]:
    """The claims that a guard of the role watches, in the order of the guards."""
    known = tuple(claims)
    return tuple(
        Guarded(guard, claim, margins.get(guard.name, guard.margin))
        for guard in GUARDS.get(role, ())
        for claim in known
        if guard.watches(claim, serves)
    )


def losses(role: Role, claims: tuple[Evidence, ...], serves: str, margins: Mapping[str, float]) -> list[str]:
    """A line for each guard that is lost by one of `claims`."""
    return [_loss(each) for each in guarded(role, claims, serves, margins) if each.is_lost]


def _loss(each: Guarded) -> str:
    guard, claim = each.guard, each.claim
    change = f"{'rises' if guard.lower_is_better else 'falls'} by {abs(claim.difference):.3f}"
    if guard.must_rise:
        change = f"is not shown to rise ({claim.reference:.3f} → {claim.tuned:.3f})"
    few = "" if claim.has_enough_groups else f", too few groups to tell a loss from noise: {claim.groups} of {MIN_GROUPS}"
    margin = f"{each.margin:g}" + (f" of {claim.reference:.4g}" if guard.relative else "")
    return (
        f"{claim.metric} {change} against {claim.against} ({claim.confidence} interval {claim.interval}, {claim.n} items of "
        f"{claim.data}{few}), and the margin of `{guard.name}` is {margin}"
    )


def unmeasured(role: Role, claims: Iterable[Evidence], serves: str) -> tuple[str, ...]:
    """The names of the role's guards that no claim is of: too few items have a value. A general set is measured if asked."""
    known = tuple(claims)
    asked = [
        guard
        for guard in GUARDS.get(role, ())
        if guard.reference is not Reference.GENERAL and (serves or guard.reference is not Reference.VERSION)
    ]
    return tuple(guard.name for guard in asked if not any(guard.watches(claim, serves) for claim in known))
