"""Evidence as tests write it: what matters to the test is given, the rest is made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lorag.pipeline.adapters.evidence import (
    BARE_BASE,
    LEADING_METRIC,
    Against,
    DataOrigin,
    Evidence,
    EvidenceData,
    EvidenceKind,
)
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
        level=0.95,
        n=n,
        groups=groups,
    )


def speak_for(registry: Registry, role: Role, name: str, **more: Any) -> Evidence:
    """Put on the card of a version that it is better than what serves now; `more` is as for `claim`."""
    made = claim(LEADING_METRIC[role], against=registry.as_reference(registry.serving(role)), **more)
    registry.attach_evidence(role, name, [made])
    return made


def speak_for_each(registry: Registry, role: Role, names: Sequence[str]) -> None:
    """Each of the versions claims to be better than the bare base and than each other."""
    for name in names:
        others = [None, *(registry.resolve(role, other) for other in names if other != name)]
        against = [registry.as_reference(other) for other in others]
        registry.attach_evidence(role, name, [claim(LEADING_METRIC[role], against=each) for each in against])
