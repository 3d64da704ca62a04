"""Reads cards of format 1 as format 2. Their evidence was untyped: against the bare base, with the kind in the data's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lorag.pipeline.adapters.evidence import BARE_BASE, Against, DataOrigin, Evidence, EvidenceData, EvidenceKind
from lorag.pipeline.adapters.files import build
from lorag.pipeline.storage.strict_json import plain

_GENERAL = ", a general set"
"""Suffix of the data's name for a comparison on a set of another domain."""

_INVENTED = ("invented documents", "invented conversations")
"""Ended the names of the data that the bundled adapters were measured on, beside public sets."""

_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class _Comparison:
    metric: str
    base: float
    tuned: float
    difference: float
    low: float
    high: float
    n: int
    data: str


def upgraded(card: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The JSON of a format 1 card as one of format 2. Values that are no list or object are left for the reader to refuse.

    Raises AdapterError for a comparison that is not in format 1.
    """
    made = {**card, "format": 2}
    if isinstance(evidence := card.get("evidence"), list):
        made["evidence"] = [_claim(each, BARE_BASE, f"{where}: evidence[{n}]") for n, each in enumerate(evidence)]
    parent = card.get("parent")
    if isinstance(parent, Mapping) and isinstance(changes := parent.get("changes"), list):
        against = Against(str(parent.get("version", "")), str(parent.get("weights_digest", "")))
        transfer = EvidenceKind.TRANSFER
        claims = [_claim(each, against, f"{where}: parent: changes[{n}]", transfer) for n, each in enumerate(changes)]
        made["parent"] = {**parent, "changes": claims}
    return made


def _claim(comparison: object, against: Against, where: str, kind: EvidenceKind | None = None) -> Any:
    old = build(_Comparison, comparison, where)
    is_general = old.data.endswith(_GENERAL)
    name = old.data.removesuffix(_GENERAL)
    origin = DataOrigin.MADE if name.endswith(_INVENTED) else DataOrigin.HUMAN
    evidence = Evidence(
        metric=old.metric,
        data=EvidenceData(name, "", origin),
        against=against,
        kind=kind or (EvidenceKind.GENERAL if is_general else EvidenceKind.HELD_OUT),
        reference=old.base,
        tuned=old.tuned,
        difference=old.difference,
        low=old.low,
        high=old.high,
        level=_LEVEL,
        n=old.n,
    )
    return plain(evidence)
