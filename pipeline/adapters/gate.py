"""The gate: what a version's card must show before it serves. Reads claims, measures nothing.

The claims of one measurement decide together. The leading metric must be better than what serves, the bare base, the no-op of the
role and the best floor; no guard may be lost. That all must hold needs no correction for their number (intersection-union test,
Berger 1982). The looks at one test set share one error probability.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.evidence import (
    BARE_BASE,
    LEADING_METRIC,
    MIN_GROUPS,
    NO_OPS,
    Against,
    DataOrigin,
    Evidence,
    EvidenceKind,
    floor_reference,
)
from lorag.pipeline.adapters.guards import losses
from lorag.pipeline.adapters.looks import require_counted
from lorag.pipeline.errors import AdapterError

NO_MARGINS: Mapping[str, float] = MappingProxyType({})


def require_margin(not_worse: float | None) -> None:
    """Raises AdapterError for an invalid margin."""
    if not_worse is not None and not (math.isfinite(not_worse) and not_worse >= 0):
        raise AdapterError(f"not_worse is {not_worse}; it must be a margin of 0 or more in the metric's units")


def require_evidence(
    card: AdapterCard,
    serves: Against,
    not_worse: float | None,
    margins: Mapping[str, float] = NO_MARGINS,
    kind: EvidenceKind | None = None,
    *,
    accept_made: bool = False,
) -> Evidence:
    """The claim by which the adapter may replace what `serves`: better than it, or not worse by more than `not_worse`.

    It must be better than the bare base and the floors in any case, and lose no guard. `margins` are those of guards, by name.
    Claims of one `kind` decide: of the sealed part if there are any, else of the test split. With `accept_made` made rows decide
    too, if no others were measured: the user's own word. Raises AdapterError if the card lacks a claim, or if its claims do not
    allow it.
    """
    require_margin(not_worse)
    claim = deciding_claim(card, serves, kind, accept_made=accept_made)
    require_better(card, claim, not_worse or 0.0)
    others = _others(card, claim, serves)
    for each in (claim, *others):
        require_counted(
            each.look, each.level, f"{_name(card)} is not promoted: its comparison with {each.against}", _command(card)
        )
    for each in others:
        require_better(card, each, 0.0)
    lost = losses(card.role, _measured_with(card, claim), serves.key, margins)
    if lost:
        raise AdapterError(
            f"{_name(card)} is held: it is better in {claim.metric}, but {'; '.join(lost)}; "
            "train it further, or set another margin under `gate.margins` in lorag.yaml"
        )
    return claim


def require_starter_evidence(card: AdapterCard) -> Evidence:
    """The claim by which a bundled adapter may serve while nothing does: better than the bare base on other people's data.

    A starter is no candidate of the project: it was measured before it was bundled, and the project's own data knows nothing of
    it. The bundled cards are older than the count of groups, so theirs may be unknown here. Raises AdapterError if the card has
    no such claim, or one that does not show it.
    """
    found = [each for each in card.evidence if each.kind is EvidenceKind.HELD_OUT and each.against.key == BARE_BASE.key]
    claim = next((each for each in found if each.metric in (LEADING_METRIC.get(card.role), "macro-F1")), None)
    if claim is None:
        raise AdapterError(f"{_name(card)} is not promoted: its card has no held-out comparison with the bare base")
    if claim.groups is not None:
        _require_groups(card, claim)
    _require_above(card, claim, 0.0)
    return claim


def deciding_claim(
    card: AdapterCard, serves: Against, kind: EvidenceKind | None = None, *, accept_made: bool = False
) -> Evidence:
    """The claim that decides whether the adapter may replace what `serves`: the newest one against that, by the role's leading
    metric, on held-out rows that were not made, or else, with `accept_made`, on made ones. What the sealed part said of it, the
    test split does not undo.

    Raises AdapterError with the command to run if there is none.
    """
    if kind is None:
        sealed = any(each.kind is EvidenceKind.SEALED for each in card.evidence)
        kind = EvidenceKind.SEALED if sealed else EvidenceKind.HELD_OUT
    leading = LEADING_METRIC.get(card.role)
    if leading is None:
        raise AdapterError(f"{_name(card)} is not promoted: it only makes training data and serves nobody")
    held_out = [each for each in card.evidence if each.kind is kind and each.metric == leading]
    against = [each for each in held_out if each.against.key == serves.key]
    found = next((each for each in against if each.data.origin is not DataOrigin.MADE), None)
    if found is None and accept_made:
        found = next(iter(against), None)
    if found is not None:
        return found
    run = _command(card)
    if kind is EvidenceKind.SEALED:
        why = f"{serves} serves, and it was measured on the sealed part against another"
        run = f"`lorag adapters promote {_name(card)} --data FOLDER`"
    elif against:
        why = f"it was measured against {serves} on made rows only, which promote nothing"
    elif held_out and serves.weights_digest:
        why = f"{serves} serves, and its card has no held-out comparison with that one"
    else:
        why = f"its card has no held-out comparison with {serves}"
    raise AdapterError(f"{_name(card)} is not promoted: {why}; run {run}")


def _others(card: AdapterCard, claim: Evidence, serves: Against) -> list[Evidence]:
    """The leading claims of the measurement of `claim` against the bare base, if that does not serve, and the floors.

    Raises AdapterError if one that must be there is missing.
    """
    together = [each for each in _measured_with(card, claim) if each.metric == claim.metric and each.kind is claim.kind]
    by_key = {each.against.key: each for each in together}
    for needed in (BARE_BASE, *map(floor_reference, NO_OPS[card.role])):
        if needed.key not in by_key:
            raise AdapterError(
                f"{_name(card)} is not promoted: its measurement on {claim.data} has no comparison with {needed}; "
                f"run {_command(card)}"
            )
    return [each for each in together if each.against.key != serves.key and not each.against.weights_digest]


def _measured_with(card: AdapterCard, claim: Evidence) -> tuple[Evidence, ...]:
    """The claims of the measurement that `claim` is of, and those on general sets."""
    same = [each for each in card.evidence if _measurement(each) == _measurement(claim)]
    return (*same, *(each for each in card.evidence if each.kind is EvidenceKind.GENERAL and each not in same))


def _measurement(claim: Evidence) -> tuple[str, str, int | None, EvidenceKind]:
    return claim.data.digest, claim.data.name, claim.look, claim.kind


def require_better(card: AdapterCard, claim: Evidence, margin: float) -> None:
    """Raises AdapterError if the claim is on too few groups, or its interval does not lie above −`margin`."""
    _require_groups(card, claim)
    _require_above(card, claim, 0.0 - margin)


def _require_above(card: AdapterCard, claim: Evidence, floor: float) -> None:
    """Raises AdapterError if the claim's interval does not lie above `floor`."""
    if not claim.low > floor:
        raise AdapterError(
            f"{_name(card)} is not promoted: {claim.metric} differs by {claim.difference:+.3f} from "
            f"{claim.against}, {claim.confidence} interval {claim.interval} on {claim.n} items of {claim.data}, and must lie "
            f"above {floor:g}; train it further or evaluate it on more items"
        )


def _require_groups(card: AdapterCard, claim: Evidence) -> None:
    """Raises AdapterError for a claim on fewer than `MIN_GROUPS` groups, or of an unknown number."""
    if claim.has_enough_groups:
        return
    if claim.groups is None:
        raise AdapterError(
            f"{_name(card)} is not promoted: its claim on {claim.data} does not say of how many independent groups; "
            f"run {_command(card)}"
        )
    raise AdapterError(
        f"{_name(card)} is not promoted: {claim.data} has {claim.groups} independent groups of items (documents or "
        f"conversations), and at least {MIN_GROUPS} decide; evaluate it on rows of more documents or conversations"
    )


def _name(card: AdapterCard) -> str:
    return f"{card.role.value} {card.version}"


def _command(card: AdapterCard) -> str:
    return f"`lorag eval adapter {_name(card)} --data FOLDER`"
