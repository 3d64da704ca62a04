"""Which version of an adapter serves: promotion and rollback, for the embedder with the index that belongs to it.

The registry's change of aliases is the whole step: a project searches the collection that its encoder can search, whatever name
that collection has. The change of the index's name only follows it. Loads no model: encoders are compared by identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.assembly import open_index, open_registry, open_store, unproven_embedder
from lorag.pipeline.adapters.evidence import Evidence, EvidenceKind
from lorag.pipeline.adapters.registry import PREVIOUS, PRODUCTION
from lorag.pipeline.errors import AdapterError, ConfigError, DataError
from lorag.pipeline.records import Role
from lorag.serving_lock import is_served
from lorag.training.dataset import SEALED

if TYPE_CHECKING:
    from collections.abc import Callable

    from lorag.evaluating.measuring import Documents, Progress
    from lorag.pipeline.config import Settings
    from lorag.pipeline.evaluation.report.decision import DecisionCard
    from lorag.pipeline.retrieval.index import Index
    from lorag.pipeline.retrieval.store import VectorStore


@dataclass(frozen=True, slots=True)
class Switch:
    """The version that serves for a role now and the previous one (empty: the bare base). `index` is a line on its index.

    A promotion has the `claim` that allowed it, unless the version served already, and the `margin` if one was given. With
    `is_served` a service that runs in another process takes the version up within seconds.
    """

    role: Role
    production: str
    previous: str
    index: str = ""
    claim: Evidence | None = None
    margin: float | None = None
    is_served: bool = False

    def reason(self) -> str:
        """The evidence that allowed the promotion, in one line. Empty if none was needed."""
        if self.claim is None:
            return ""
        found = f"{self.claim.metric} {self.claim.difference:+.3f} ({self.claim.interval}) against {self.claim.against}"
        wanted = "better" if self.margin is None else f"not worse by {self.margin:g} in {self.claim.metric}"
        return f"It is {wanted}: {found}, on {self.claim.n} items of {self.claim.data}."


@dataclass(frozen=True, slots=True)
class IndexSwitch:
    """Whether an encoder can search the index now, and one line on what changed or what to do."""

    searchable: bool
    message: str


def require_production(settings: Settings, role: Role) -> None:
    """Raises ConfigError if the settings name another adapter for `role` than `production`: no alias changes what serves."""
    choice = str(getattr(settings.adapters, role.value, PRODUCTION))
    if choice != PRODUCTION:
        raise ConfigError(f"`adapters.{role.value}: {choice}` in lorag.yaml decides what serves; set it to `{PRODUCTION}` first")


@dataclass(frozen=True, slots=True)
class SealedTest:
    """A data folder whose sealed part decides, and the callbacks of its measurement: requests, documents, and the card of the
    decision, which comes before a refusal is raised."""

    data: Path
    on_progress: Progress | None = None
    on_documents: Documents | None = None
    on_card: Callable[[DecisionCard], None] | None = None


def promote_version(
    settings: Settings,
    role: Role,
    version: str,
    not_worse: float | None = None,
    store: VectorStore | None = None,
    sealed: SealedTest | None = None,
    accept_made: bool = False,
) -> Switch:
    """Let a version serve if its evidence shows that it is better than what serves now, or not worse by `not_worse`, that it is
    better than the bare base and the floors, and that it loses no guard. With `accept_made` the evidence may be on made rows.

    With the data folder of a `sealed` part, a version that passes on the test split is measured there too, once, and what that
    says decides, then and later. `store` is the project's, if it is open. Raises ConfigError, AdapterError, StoreError, and
    DataError for sealed rows that cannot be used.
    """
    require_production(settings, role)
    if sealed is not None:
        open_sealed(settings, role, version, not_worse, sealed)
    promotion = open_registry(settings).promote(role, version, not_worse=not_worse, accept_made=accept_made)
    return replace(_switch(settings, role, store), claim=promotion.claim, margin=promotion.margin)


def open_sealed(settings: Settings, role: Role, version: str, not_worse: float | None, sealed: SealedTest) -> None:
    """Measure the version on the sealed part, if the folder has one and the test split allows the promotion."""
    from lorag.evaluating.sealed import has_sealed, measure_sealed

    if not sealed.data.is_dir():
        raise DataError(f"{sealed.data}: no such data folder; give the one that holds {SEALED}/")
    if not has_sealed(settings, role, sealed.data):
        return
    found = open_registry(settings).admitted(role, version, not_worse=not_worse, kind=EvidenceKind.HELD_OUT)
    if PRODUCTION not in found.aliases:
        card = measure_sealed(settings, role, found.id, sealed.data, sealed.on_progress, sealed.on_documents)
        if sealed.on_card is not None:
            sealed.on_card(card)


def promotion_refusal(settings: Settings, role: Role, version: str) -> str:
    """Why a promotion of the version would be refused now, in one line. Empty if it would not."""
    try:
        open_registry(settings).admitted(role, version)
        require_production(settings, role)
    except (ConfigError, AdapterError) as error:
        return str(error)
    return ""


def roll_back(settings: Settings, role: Role, store: VectorStore | None = None) -> Switch:
    """Restore the previous version. A second rollback undoes the first. Raises ConfigError, AdapterError, StoreError."""
    require_production(settings, role)
    open_registry(settings).rollback(role)
    return _switch(settings, role, store)


def _switch(settings: Settings, role: Role, store: VectorStore | None) -> Switch:
    index = switch_project_index(settings, store) if role is Role.EMBEDDER else ""
    aliases = open_registry(settings).aliases(role)
    return Switch(role, aliases[PRODUCTION], aliases.get(PREVIOUS, ""), index, is_served=is_served(settings.project))


def switch_project_index(settings: Settings, store: VectorStore | None = None) -> str:
    """Switch the project's index to the encoder that the settings name, and return the message. Empty if there is no index.

    `store` is the project's, if it is open already; it stays open. Raises StoreError, BaseError, AdapterError.
    """
    opened = store or open_store(settings)
    try:
        if settings.store.collection not in opened.aliases():
            return ""
        return switch_index(open_index(settings, unproven_embedder(settings), opened)).message
    finally:
        if store is None:
            opened.close()


def switch_index(index: Index) -> IndexSwitch:
    """Point the index's name to the collection that its encoder can search: the present one, or that before the last rebuild.

    If there is neither, the index stays as it was. Raises StoreError.
    """
    if collection := index.switch_to_searchable():
        return IndexSwitch(True, f"The index is back at collection {collection}, which it filled.")
    index.info()
    if index.is_searchable():
        return IndexSwitch(True, "The index fits it as it is.")
    return IndexSwitch(False, "The index was filled by another encoder: run `lorag ingest --rebuild` before you ask.")
