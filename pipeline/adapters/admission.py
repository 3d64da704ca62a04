"""Requirements for an adapter to become a version. Writes only to the given folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.canaries import CANARY_FILE, check_readable
from lorag.pipeline.adapters.card import CARD_FILE, PLAIN_LORA, AdapterCard, LoraKind
from lorag.pipeline.adapters.files import copy_file
from lorag.pipeline.adapters.inspection import ALLOWED, WEIGHTS_FILE, AdapterFacts, inspect_folder, inspect_weights
from lorag.pipeline.adapters.lora_settings import CONFIG_FILE, portable_settings, read_object
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
    write_settings(read_object(source), folder)


def write_settings(settings: Mapping[str, Any], folder: Path) -> None:
    """Write `settings` into `folder` as they are published. Raises OSError."""
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
