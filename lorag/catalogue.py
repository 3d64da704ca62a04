"""What a registry has, for people to look at: each version with its card, or with what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Role


@dataclass(frozen=True, slots=True)
class Listed:
    """A version and its card. A damaged one has None, and `problem` says why: it must not hide the others."""

    version: Version
    card: AdapterCard | None
    problem: str = ""


def listed(registry: Registry, role: Role | None = None) -> tuple[Listed, ...]:
    """The published versions of one role, or of all, oldest first."""
    return tuple(_listed(registry, version) for version in registry.list(role))


def _listed(registry: Registry, version: Version) -> Listed:
    try:
        return Listed(version, registry.show(version.role, version.id))
    except AdapterError as error:
        return Listed(version, None, str(error))
