"""Which adapter versions an evaluation measures, and what serves in their place."""

from __future__ import annotations

from collections.abc import Mapping

from lorag.assembly import open_registry
from lorag.evaluating.measuring import ROLES
from lorag.pipeline.adapters.registry import CANDIDATE, PRODUCTION, Registry, Version
from lorag.pipeline.adapters.starters import is_starter
from lorag.pipeline.config import Settings
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Role


def chosen_versions(settings: Settings) -> dict[Role, Version]:
    """The adapters to measure: those that the settings name. While nothing or a starter serves, the candidate takes its place.

    Raises InputError if there is none at all, AdapterError if a name resolves to no version.
    """
    registry = open_registry(settings)
    found = {}
    for role in ROLES:
        choice = str(getattr(settings.adapters, role.value))
        aliases = registry.aliases(role)
        if choice == PRODUCTION and CANDIDATE in aliases and _serves_no_trained(registry, role):
            choice = CANDIDATE
        if choice == PRODUCTION and choice not in aliases:
            choice = "none"
        if choice != "none":
            found[role] = registry.resolve(role, choice)
    if not found:
        raise InputError("no adapter is published in this project; train one first with `lorag train`")
    return found


def _serves_no_trained(registry: Registry, role: Role) -> bool:
    """True if the role has no production version, or a starter."""
    return PRODUCTION not in registry.aliases(role) or is_starter(registry.show(role, PRODUCTION))


def serving_beside(settings: Settings, versions: Mapping[Role, Version]) -> dict[Role, Version]:
    """What serves in the place of `versions`, to be measured beside them; generation roles only on a base in this process."""
    registry, is_local = open_registry(settings), settings.generation.engine == "local"
    found = {role: registry.serving(role) for role in versions if is_local or role is Role.EMBEDDER}
    return {role: each for role, each in found.items() if each is not None}
