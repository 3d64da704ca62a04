"""Which version of an adapter serves: promotion and rollback, for the embedder with the index that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lorag.assembly import open_registry
from lorag.index_switch import follow_embedder
from lorag.pipeline.adapters.registry import PREVIOUS, PRODUCTION
from lorag.pipeline.records import Role

if TYPE_CHECKING:
    from lorag.pipeline.adapters.evidence import Evidence
    from lorag.pipeline.config import Settings
    from lorag.pipeline.retrieval.store import VectorStore


@dataclass(frozen=True, slots=True)
class Switch:
    """What serves for a role now, and what did before (empty: the bare base). `index` is a line on what became of the index.

    A promotion has the `claim` that let it, unless the version served already, and the `margin` if one was given.
    """

    role: Role
    production: str
    previous: str
    index: str = ""
    claim: Evidence | None = None
    margin: float | None = None

    def reason(self) -> str:
        """What let the version serve, in one line; '' if nothing had to."""
        if self.claim is None:
            return ""
        found = f"{self.claim.metric} {self.claim.difference:+.3f} ({self.claim.interval}) against {self.claim.against}"
        wanted = "better" if self.margin is None else f"not worse by {self.margin:g} in {self.claim.metric}"
        return f"It is {wanted}: {found}, on {self.claim.n} items of {self.claim.data}."


def promote_version(
    settings: Settings, role: Role, version: str, not_worse: float | None = None, store: VectorStore | None = None
) -> Switch:
    """Let a version serve, if its evidence says that it is better than what serves now, or not worse by `not_worse`.

    `store` is the project's, if it is open. Raises AdapterError, StoreError.
    """
    promotion = open_registry(settings).promote(role, version, not_worse=not_worse)
    return replace(_switch(settings, role, store), claim=promotion.claim, margin=promotion.margin)


def roll_back(settings: Settings, role: Role, store: VectorStore | None = None) -> Switch:
    """Put the previous version back. A second rollback undoes the first. Raises AdapterError, StoreError."""
    open_registry(settings).rollback(role)
    return _switch(settings, role, store)


def _switch(settings: Settings, role: Role, store: VectorStore | None) -> Switch:
    index = follow_embedder(settings, store) if role is Role.EMBEDDER else ""
    aliases = open_registry(settings).aliases(role)
    return Switch(role, aliases[PRODUCTION], aliases.get(PREVIOUS, ""), index)
