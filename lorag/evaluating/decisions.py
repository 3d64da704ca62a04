"""The gate's decision on a measured adapter → the card that page, commands and demo show. Measures and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lorag.assembly import version_name
from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.evidence import BARE_BASE, LEADING_METRIC, Against, DataOrigin, Evidence, EvidenceKind, with_claims
from lorag.pipeline.adapters.gate import require_evidence
from lorag.pipeline.adapters.guards import Guarded, guarded, unmeasured
from lorag.pipeline.adapters.looks import look_line
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.evaluation.journal import Usage
from lorag.pipeline.evaluation.report.decision import Comparator, Cost, Decision, DecisionCard, GuardLine


def decision_card(
    registry: Registry, version: Version, claims: Sequence[Evidence], usage: Sequence[Usage] = (), refusal: str | None = None
) -> DecisionCard:
    """The card of a version by `claims`, those of one measurement, which need not be on the adapter's own card yet.

    At least one is on the role's leading metric. `refusal` is why a promotion would be refused; None asks the gate. A version
    that serves is weighed against the bare base.
    """
    card = registry.show(version.role, version.id)
    card = replace(card, evidence=with_claims(card.evidence, claims))
    serving = registry.serving(version.role)
    is_serving = serving is not None and serving.id == version.id
    serves = BARE_BASE if is_serving else registry.as_reference(serving)
    metric = LEADING_METRIC.get(version.role, "")
    leading = [each for each in claims if each.metric == metric and each.kind in (EvidenceKind.HELD_OUT, EvidenceKind.SEALED)]
    first = leading[0]
    reason = _refusal(card, serves, registry) if refusal is None else refusal
    if first.data.origin is DataOrigin.MADE:
        more = f": measure {version.id} on rows that people wrote" if reason else ""
        reason = f"{first.data.name} holds made rows, which promote nothing{more}"
    lines = sorted(map(_comparator, leading), key=lambda each: each.low)
    seen = (*claims, *_general(card))
    watched = guarded(version.role, seen, serves.key, registry.margins)
    return DecisionCard(
        role=version.role.value,
        version=version.id,
        decision=_decision(reason, leading),
        reason=reason,
        metric=metric,
        data=str(first.data),
        comparators=tuple(lines),
        guards=tuple(sorted(map(_guard_line, watched), key=lambda each: (not each.lost, not each.worse))),
        unmeasured=unmeasured(version.role, seen, serves.key),
        serving=is_serving,
        look=first.look,
        looks=look_line(first.look, first.groups, first.data) if first.look else "",
        cost=_cost(card, version_name(version), usage),
    )


def _refusal(card: AdapterCard, serves: Against, registry: Registry) -> str:
    try:
        require_evidence(card, serves, None, registry.margins)
    except AdapterError as error:
        return str(error)
    return ""


def _decision(reason: str, leading: Sequence[Evidence]) -> Decision:
    """Promote is the gate's word alone. It rejects what is measured well enough and not shown to be better."""
    if not reason:
        return Decision.PROMOTE
    return Decision.REJECT if any(each.has_enough_groups and each.low <= 0 for each in leading) else Decision.HOLD


def _general(card: AdapterCard) -> tuple[Evidence, ...]:
    return tuple(each for each in card.evidence if each.kind is EvidenceKind.GENERAL)


def _comparator(claim: Evidence) -> Comparator:
    return Comparator(
        against=str(claim.against),
        reference=claim.reference,
        tuned=claim.tuned,
        difference=claim.difference,
        low=claim.low,
        high=claim.high,
        level=claim.level,
        n=claim.n,
        groups=claim.groups,
        beaten=claim.shows_gain,
    )


def _guard_line(found: Guarded) -> GuardLine:
    claim = found.claim
    on = f"{claim.against} on {claim.data.name}" if claim.kind is EvidenceKind.GENERAL else str(claim.against)
    return GuardLine(
        metric=claim.metric,
        against=on,
        difference=claim.difference,
        low=claim.low,
        high=claim.high,
        margin=found.allowed,
        worse=found.is_worse,
        lost=found.is_lost,
        groups=claim.groups,
        must_rise=found.guard.must_rise,
    )


def _cost(card: AdapterCard, name: str, usage: Sequence[Usage]) -> Cost:
    """Training by the card, requests by the evaluation: those of the adapter, beside the bare base's at the same stages."""
    own = [each for each in usage if each.adapter == name]
    stages = {each.stage for each in own}
    base = [each for each in usage if each.adapter == "base" and each.stage in stages]
    trained = card.training if card.origin is None else None
    return Cost(
        trained_seconds=trained.seconds if trained else None,
        trained_tokens=trained.tokens if trained else None,
        requests=sum(each.requests for each in own),
        prompt_tokens=sum(each.prompt_tokens for each in own),
        completion_tokens=sum(each.completion_tokens for each in own),
        latency=_latency(own),
        base_latency=_latency(base),
    )


def _latency(usage: Sequence[Usage]) -> float | None:
    timed = sum(each.timed for each in usage)
    return sum(each.seconds for each in usage) / timed if timed else None
