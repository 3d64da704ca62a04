"""Guards: what an adapter must not lose while its leading metric rises, each with the margin that it may lose.

A guard holds a candidate if the loss is beyond its margin and the 95 % interval of the loss excludes zero. Knows no card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from lorag.pipeline.adapters.evidence import Evidence, EvidenceKind
from lorag.pipeline.records import Role

GUARD_LEVEL = 0.95
"""The level of a guard's interval. It does not grow with the looks: a stricter one would let more losses pass."""


class Reference(StrEnum):
    """What a guard's loss is against: what serves now, systems without training, or the bare encoder on a general set.

    Where what serves may be worthless (a base that cites nothing), a floor guards too.
    """

    SERVING = "serving"
    FLOORS = "floors"
    GENERAL = "general"


@dataclass(frozen=True, slots=True)
class Guard:
    """A metric with its `margin`, in the metric's units. `metric` ends in a space if it is the beginning of several names."""

    name: str
    metric: str
    margin: float
    reference: Reference = Reference.SERVING
    lower_is_better: bool = False

    def watches(self, claim: Evidence, serves: str) -> bool:
        """Whether the claim is of this guard; `serves` is the key of what serves."""
        named = claim.metric.startswith(self.metric) if self.metric.endswith(" ") else claim.metric == self.metric
        if self.reference is Reference.GENERAL:
            return named and claim.kind is EvidenceKind.GENERAL
        if claim.kind is EvidenceKind.GENERAL:
            return False
        floor = bool(claim.against.is_floor)
        return named and (floor if self.reference is Reference.FLOORS else not floor and claim.against.key == serves)

    def is_worse(self, claim: Evidence) -> bool:
        """Whether the interval shows a loss."""
        return claim.has_enough_groups and (claim.low > 0 if self.lower_is_better else claim.high < 0)

    def is_lost(self, claim: Evidence, margin: float) -> bool:
        """Whether the loss is beyond the margin and more than noise."""
        loss = claim.difference if self.lower_is_better else -claim.difference
        return self.is_worse(claim) and loss > margin


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guard's claim and the margin that was asked for."""

    guard: Guard
    claim: Evidence
    margin: float

    @property
    def is_worse(self) -> bool:
        return self.guard.is_worse(self.claim)

    @property
    def is_lost(self) -> bool:
        return self.guard.is_lost(self.claim, self.margin)


GUARDS: Mapping[Role, tuple[Guard, ...]] = {
    Role.SYNTHESIZER: (
        Guard("citation precision", "citation precision", 0.05),
        Guard("citation precision of the floor", "citation precision", 0.05, Reference.FLOORS),
        Guard("citation recall", "citation recall", 0.05),
        Guard("right refusals", "right refusals", 0.1),
        Guard("wrong refusals", "wrong refusals", 0.2, lower_is_better=True),
        Guard("supported answers", "supported answers", 0.05),
        Guard("words", "words", 20.0, lower_is_better=True),
    ),
    Role.REWRITER: (
        Guard("harm on standalone turns", "harm on standalone turns", 0.05, lower_is_better=True),
        Guard("retrieval nDCG@10", "nDCG@10", 0.02, Reference.FLOORS),
        Guard("retrieval Recall@5", "Recall@5", 0.02, Reference.FLOORS),
    ),
    Role.EMBEDDER: (
        Guard("Recall@5", "Recall@5", 0.02),
        Guard("general set nDCG@10", "nDCG@10", 0.02, Reference.GENERAL),
    ),
    Role.JUDGE: (Guard("macro-F1 of a task", "macro-F1, ", 0.05),),
}
"""The guards of each role. `words` is an answer's length: adapters of one base differ in time per answer by its length alone."""

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
    found = []
    for each in guarded(role, claims, serves, margins):
        guard, claim = each.guard, each.claim
        if each.is_lost:
            verb = "rises" if guard.lower_is_better else "falls"
            found.append(
                f"{claim.metric} {verb} by {abs(claim.difference):.3f} against {claim.against} ({claim.confidence} interval "
                f"{claim.interval}, {claim.n} items of {claim.data}), and the margin of `{guard.name}` is {each.margin:g}"
            )
    return found
