"""The versions of a registry as people see them: each with its card or its problem."""

from __future__ import annotations

from dataclasses import dataclass

from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Role


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A version and its card. The card of a damaged version is None and `problem` says why: it must not hide the others."""

    version: Version
    card: AdapterCard | None
    problem: str = ""


def catalogue(registry: Registry, role: Role | None = None) -> tuple[CatalogueEntry, ...]:
    """The published versions of one role or of all, oldest first."""
    return tuple(_entry(registry, version) for version in registry.list(role))


def _entry(registry: Registry, version: Version) -> CatalogueEntry:
    try:
        return CatalogueEntry(version, registry.show(version.role, version.id))
    except AdapterError as error:
        return CatalogueEntry(version, None, str(error))
