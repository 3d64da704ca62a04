"""Evidence as tests write it: what matters to the test is given, the rest is made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lorag.pipeline.adapters.evidence import (
    BARE_BASE,
    LEADING_METRIC,
    NO_OPS,
    Against,
    DataOrigin,
    Evidence,
    EvidenceData,
    EvidenceKind,
    floor_reference,
)
from lorag.pipeline.adapters.looks import confidence
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role


def claim(
    metric: str = "ROUGE-1",
    low: float = 0.1,
    high: float = 0.7,
    *,
    reference: float = 0.2,
    tuned: float | None = None,
    n: int = 30,
    groups: int | None = 10,
    data: str = "made-up test split",
    digest: str = "",
    origin: DataOrigin = DataOrigin.HUMAN,
    against: Against = BARE_BASE,
    kind: EvidenceKind = EvidenceKind.HELD_OUT,
    level: float | None = None,
    look: int | None = 1,
) -> Evidence:
    """A claim whose difference lies in the middle of its interval."""
    difference = round((low + high) / 2 if tuned is None else tuned - reference, 9)
    return Evidence(
        metric=metric,
        data=EvidenceData(data, digest, origin),
        against=against,
        kind=kind,
        reference=reference,
        tuned=round(reference + difference, 9),
        difference=difference,
        low=low,
        high=high,
        level=(confidence(look) if look else 0.95) if level is None else level,
        n=n,
        groups=groups,
        look=look,
    )


def measurement(role: Role, against: Against = BARE_BASE, **more: Any) -> list[Evidence]:
    """The claims of one measurement on the role's own metric: against what serves, the bare base and the role's no-ops. `more` is
    as for `claim`, and holds for the first; if that is not above zero, the others still are."""
    first = claim(LEADING_METRIC[role], against=against, **more)
    other = first if first.low > 0 else replace(first, reference=0.0, tuned=0.5, difference=0.5, low=0.4, high=0.6)
    rest = [each for each in (BARE_BASE, *map(floor_reference, NO_OPS[role])) if each.key != against.key]
    return [first, *(replace(other, against=each) for each in rest)]


def speak_for(registry: Registry, role: Role, name: str, **more: Any) -> Evidence:
    """Put on the card of a version that it is better than what serves now; `more` is as for `claim`."""
    made = measurement(role, registry.as_reference(registry.serving(role)), **more)
    registry.attach_evidence(role, name, made)
    return made[0]


def speak_for_each(registry: Registry, role: Role, names: Sequence[str]) -> None:
    """Each of the versions claims to be better than the bare base and than each other."""
    for name in names:
        others = [None, *(registry.resolve(role, other) for other in names if other != name)]
        against = [registry.as_reference(other) for other in others]
        registry.attach_evidence(role, name, [made for each in against for made in measurement(role, each)])
