"""Evidence as tests write it: what matters to the test is given, the rest is made up."""

from __future__ import annotations

from lorag.pipeline.adapters.evidence import BARE_BASE, Against, DataOrigin, Evidence, EvidenceData, EvidenceKind


def claim(
    metric: str = "ROUGE-1",
    low: float = 0.1,
    high: float = 0.7,
    *,
    reference: float = 0.2,
    tuned: float | None = None,
    n: int = 30,
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
    )
