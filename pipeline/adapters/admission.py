"""Requirements for an adapter to become a version, and for a version to become production. Writes only to the given folder."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

from lorag.pipeline.adapters.canaries import CANARY_FILE, check_readable
from lorag.pipeline.adapters.card import CARD_FILE, PLAIN_LORA, AdapterCard, LoraKind
from lorag.pipeline.adapters.evidence import LEADING_METRIC, MIN_GROUPS, Against, DataOrigin, Evidence, EvidenceKind
from lorag.pipeline.adapters.files import copy_file, load_json
from lorag.pipeline.adapters.inspection import ALLOWED, WEIGHTS_FILE, AdapterFacts, inspect_folder, inspect_weights
from lorag.pipeline.adapters.lora_settings import CONFIG_FILE, portable_settings
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.storage.atomic import write_new

README_FILE = "README.md"


def fill_version(source: Path, folder: Path) -> None:
    """Copy the adapter's files from `source` into the empty `folder`.

    Card and README are not copied, since they are written for the version; the settings lose the name of the base. Raises
    AdapterError if a needed file is missing, unreadable or a link, OSError if `folder` cannot be written.
    """
    if not source.is_dir():
        raise AdapterError(f"{source}: no adapter folder; give the folder that training wrote")
    names = sorted(ALLOWED.keys() - {CARD_FILE, README_FILE, CONFIG_FILE})
    for path in [source / name for name in names]:
        if path.is_symlink():
            raise AdapterError(f"{path}: is a link; an adapter is published from plain files")
        if path.name in (WEIGHTS_FILE, CANARY_FILE) and not path.exists():
            raise AdapterError(f"{path}: is missing; the training did not finish, run it again")
    inspect_weights(source)  # before gigabytes are copied in vain
    for name in names:
        if (source / name).exists():
            copy_file(source / name, folder / name, ALLOWED[name])
    copy_settings(source, folder)


def copy_settings(source: Path, folder: Path) -> None:
    """Write `source`'s settings into `folder` as they are published. Raises AdapterError, OSError."""
    settings = load_json(source / CONFIG_FILE, limit=ALLOWED[CONFIG_FILE])
    if not isinstance(settings, dict):
        raise AdapterError(f"{source / CONFIG_FILE}: must be an object, as peft writes it")
    write_new(folder / CONFIG_FILE, json.dumps(portable_settings(settings), indent=2) + "\n")


def check_version(folder: Path, card: AdapterCard) -> AdapterFacts:
    """Static checks of weights, settings and canaries, and that `card` is of these weights. Raises AdapterError, NoEffect."""
    facts = inspect_folder(folder)
    if card.identity.weights_digest != facts.weights_digest:
        raise AdapterError(
            f"{folder}: the card is of weights {card.identity.weights_digest[:16]}, here are {facts.weights_digest[:16]}; "
            "make the card from these weights, or copy the adapter again"
        )
    check_readable(folder, card.role)
    return facts


def published_card(card: AdapterCard, version: str, facts: AdapterFacts) -> AdapterCard:
    """The card as `version` has it: its LoRA facts are those of the files."""
    init = card.lora.kind.init if card.lora.kind else PLAIN_LORA.init
    kind = LoraKind(facts.rslora, facts.dora, init, facts.invocation)
    lora = dataclasses.replace(
        card.lora,
        rank=facts.rank,
        alpha=facts.alpha,
        dropout=facts.dropout,
        targets=facts.targets,
        parameters=facts.parameters,
        kind=None if kind == PLAIN_LORA else kind,
    )
    return dataclasses.replace(card, version=version, lora=lora)


def require_margin(not_worse: float | None) -> None:
    """Raises AdapterError for an invalid margin."""
    if not_worse is not None and not (math.isfinite(not_worse) and not_worse >= 0):
        raise AdapterError(f"not_worse is {not_worse}; it must be a margin of 0 or more in the metric's units")


def deciding_claim(card: AdapterCard, serves: Against) -> Evidence:
    """The claim that decides whether the adapter may replace what `serves`: the newest one against that, by the role's leading
    metric, on held-out rows that were not made.

    Raises AdapterError with the command to run if there is none.
    """
    leading = LEADING_METRIC.get(card.role)
    if leading is None:
        raise AdapterError(f"{card.role.value} {card.version} is not promoted: it only makes training data and serves nobody")
    held_out = [each for each in card.evidence if each.kind is EvidenceKind.HELD_OUT and each.metric == leading]
    against = [each for each in held_out if each.against.key == serves.key]
    found = next((each for each in against if each.data.origin is not DataOrigin.MADE), None)
    if found is not None:
        return found
    if against:
        why = f"it was measured against {serves} on made rows only, which promote nothing"
    elif held_out and serves.weights_digest:
        why = f"{serves} serves, and its card has no held-out comparison with that one"
    else:
        why = f"its card has no held-out comparison with {serves}"
    run = f"run `lorag eval adapter {card.role.value} {card.version} --data FOLDER`"
    raise AdapterError(f"{card.role.value} {card.version} is not promoted: {why}; {run}")


def require_evidence(card: AdapterCard, serves: Against, not_worse: float | None) -> Evidence:
    """The claim by which the adapter may replace what `serves`: better than it, or not worse by more than `not_worse`.

    Raises AdapterError if the card has no deciding claim, if that is of too few groups, or if its interval does not allow it.
    """
    require_margin(not_worse)
    claim = deciding_claim(card, serves)
    _require_groups(card, claim)
    floor = 0.0 - (not_worse or 0.0)
    if not claim.low > floor:
        raise AdapterError(
            f"{card.role.value} {card.version} is not promoted: {claim.metric} differs by {claim.difference:+.3f} from "
            f"{claim.against}, {claim.confidence} interval {claim.interval} on {claim.n} items of {claim.data}, and must lie "
            f"above {floor:g}; train it further or evaluate it on more items"
        )
    return claim


def _require_groups(card: AdapterCard, claim: Evidence) -> None:
    """Raises AdapterError for a claim on fewer than `MIN_GROUPS` groups, or of an unknown number."""
    if claim.has_enough_groups:
        return
    which = f"{card.role.value} {card.version}"
    if claim.groups is None:
        raise AdapterError(
            f"{which} is not promoted: its claim on {claim.data} does not say of how many independent groups; "
            f"run `lorag eval adapter {which} --data FOLDER`"
        )
    raise AdapterError(
        f"{which} is not promoted: {claim.data} has {claim.groups} independent groups of items (documents or conversations), and "
        f"at least {MIN_GROUPS} decide; evaluate it on rows of more documents or conversations"
    )
