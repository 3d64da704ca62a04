"""Lets the bundled adapters serve in a project until it has its own: into its registry by the registry's own admission.

What is not fit is refused before anything is written. Whether an adapter does on this machine's base what it did when it was
trained is proven where every adapter proves it: when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lorag.assembly import open_registry
from lorag.pipeline.adapters.admission import check_version
from lorag.pipeline.adapters.card import AdapterCard, read_card
from lorag.pipeline.adapters.registry import PRODUCTION, Registry, Version
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.config import Settings
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.errors import AdapterError, IdentityMismatch
from lorag.pipeline.records import Role


def fitting_starters(settings: Settings) -> tuple[dict[Role, Path], str]:
    """The bundled adapters that fit the project's base, each checked, and where there are none the reason, one line.

    Raises AdapterError for a starter that is damaged or made for other prompts.
    """
    found = bundled_starters()
    cards = {role: _checked(role, folder) for role, folder in found.items()}
    if not found:
        return {}, "this LoRAG brings none"
    if settings.generation.engine != "local":
        return {}, "generation runs on a server, which has its own adapters"
    theirs = {card.identity.base for card in cards.values()}
    if theirs != {settings.base.model}:
        return {}, f"they are for {', '.join(sorted(theirs))}, the base here is {settings.base.model}"
    return found, ""


def _checked(role: Role, folder: Path) -> AdapterCard:
    """The card of a starter whose files are whole, and are of this role and of the prompts that are written now."""
    try:
        card = read_card(folder)
        check_version(folder, card)
        if (card.role, card.identity.contract_hash) != (role, contract_hash(role)):
            raise IdentityMismatch(f"{folder}: was trained on other prompts than this LoRAG writes for the {role.value}")
    except AdapterError as error:
        raise type(error)(f"{error}; reinstall lorag, or leave the starters out with --no-starters") from error
    return card


def install_starters(settings: Settings, starters: Mapping[Role, Path], tell: Callable[[str], None]) -> dict[Role, Version]:
    """Publish the starters in the project's registry, where they are not yet, and promote each whose role nothing serves.

    `tell` gets a line for one that its evidence does not let serve. Raises AdapterError as `Registry.publish` does.
    """
    registry = open_registry(settings)
    installed = {}
    for role, folder in starters.items():
        card = read_card(folder)
        version = installed_starter(registry, role, card) or registry.publish(role, folder, card)
        if PRODUCTION not in registry.aliases(role):
            try:
                registry.promote(role, version.id)
            except AdapterError as error:
                tell(str(error))
        installed[role] = registry.resolve(role, version.id)
    return installed


def installed_starter(registry: Registry, role: Role, card: AdapterCard) -> Version | None:
    """The version with the weights of this starter, if it is in the registry."""
    ends = f"-{card.identity.weights_digest[:8]}"
    return next((version for version in registry.list(role) if version.id.endswith(ends)), None)
