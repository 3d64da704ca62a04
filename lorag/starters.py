"""Installs the bundled adapters in a project's registry, by the checks of every version. They serve until it has its own.

An adapter that does not fit is refused before anything is written. Its effect on this machine's base is proven when it is
loaded, as for every adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lorag.assembly import open_registry
from lorag.pipeline.adapters.admission import check_version
from lorag.pipeline.adapters.card import AdapterCard, read_card
from lorag.pipeline.adapters.registry import CANDIDATE, PRODUCTION, Registry, Version
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.config import Settings
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.engine.bases import require_installed
from lorag.pipeline.errors import AdapterError, IdentityMismatch
from lorag.pipeline.records import Role


def fitting_starters(settings: Settings) -> tuple[dict[Role, Path], str]:
    """The bundled adapters that fit the project's base, each checked, and if there are none the reason in one line.

    The questioner is not among them: it serves nobody, and `lorag.making` reads it where it lies.

    Raises AdapterError for a starter that is damaged or made for other prompts, BaseError if their base is not installed.
    """
    found = bundled_starters()
    found.pop(Role.QUESTIONER, None)
    cards = {role: _checked(role, folder) for role, folder in found.items()}
    if not found:
        return {}, "this LoRAG brings none"
    if settings.generation.engine != "local":
        return {}, "generation runs on a server, which has its own adapters"
    bases = {card.identity.base for card in cards.values()}
    if bases != {settings.base.model}:
        return {}, f"they are for {', '.join(sorted(bases))}, the base here is {settings.base.model}"
    require_installed(settings.base.model)
    return found, ""


def _checked(role: Role, folder: Path) -> AdapterCard:
    """The card of a starter. Raises AdapterError if its files are damaged, or of another role or contract."""
    try:
        card = read_card(folder)
        check_version(folder, card)
        if (card.role, card.identity.contract_hash) != (role, contract_hash(role)):
            raise IdentityMismatch(f"{folder}: was trained on other prompts than this LoRAG writes for the {role.value}")
    except AdapterError as error:
        raise type(error)(f"{error}; reinstall lorag, or leave the starters out with --no-starters") from error
    return card


def install_starters(settings: Settings, starters: Mapping[Role, Path], on_notice: Callable[[str], None]) -> dict[Role, Version]:
    """Publish the starters that the project's registry lacks, and promote each whose role has no version in production.

    A candidate that is there stays the candidate.

    `on_notice` gets a line for a starter whose evidence is refused. Raises AdapterError as `Registry.publish` does.
    """
    registry = open_registry(settings)
    installed = {}
    for role, folder in starters.items():
        card = read_card(folder)
        version = installed_starter(registry, role, card)
        if version is None:
            version = registry.publish(role, folder, card, candidate=CANDIDATE not in registry.aliases(role))
        if PRODUCTION not in registry.aliases(role):
            try:
                registry.promote_starter(role, version.id)
            except AdapterError as error:
                on_notice(str(error))
        installed[role] = registry.resolve(role, version.id)
    return installed


def installed_starter(registry: Registry, role: Role, card: AdapterCard) -> Version | None:
    """The version with the weights of this starter. None if the registry lacks it."""
    suffix = f"-{card.identity.weights_digest[:8]}"
    return next((version for version in registry.list(role) if version.id.endswith(suffix)), None)
