"""Routes of adapters: the versions with their evidence, the ones that serve, and promotion and rollback while questions run.

A version is named by alias or id, never by a path. The registry checks the evidence of a promotion.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Depends
from fastapi import Path as PathParameter
from fastapi.openapi.models import Example
from pydantic import BaseModel, ConfigDict, Field

from lorag.catalogue import CatalogueEntry
from lorag.pipeline.adapters.registry import CANDIDATE, PREVIOUS, Registry, Version
from lorag.pipeline.adapters.registry import Promotion as Promoted
from lorag.pipeline.errors import AdapterError, ConfigError
from lorag.pipeline.records import Role
from lorag.pipeline.storage.strict_json import plain
from lorag.project import Project
from lorag.promotion import require_production
from lorag.services.api.access import State, needs
from lorag.services.api.errors import ApiError, log_error
from lorag.services.api.jobs import jobs_of
from lorag.services.api.keys import Caller, Scope
from lorag.services.api.runtime import Encoder
from lorag.services.api.state import ServiceState

T = TypeVar("T")

log = logging.getLogger("lorag.service")

router = APIRouter(prefix="/v1/adapters", tags=["adapters"])

NAME_PATTERN = r"^(production|candidate|previous|[0-9]{4,9}-[0-9a-f]{8})$"
AskCaller = Annotated[Caller, Depends(needs(Scope.ASK))]
AdminCaller = Annotated[Caller, Depends(needs(Scope.ADMIN))]
VersionName = Annotated[str, PathParameter(pattern=NAME_PATTERN, description="An alias or a version such as 0003-1a2b3c4d.")]

SERVED = (Role.REWRITER, Role.EMBEDDER, Role.SYNTHESIZER, Role.JUDGE)
"""`questioner` only makes training data."""

PROMOTE_EXAMPLES: dict[str, Example] = {
    "candidate": {"summary": "What was published last", "value": {}},
    "version": {"summary": "A version", "value": {"version": "0003-1a2b3c4d"}},
}

_change_lock = threading.Lock()
"""One change of an alias at a time, including the loading of the version."""


class VersionView(BaseModel):
    """A version with the evidence on its card. `problem` says why a damaged one cannot be used."""

    version: str
    aliases: list[str]
    created: str = ""
    evidence: list[dict[str, Any]] = []
    problem: str | None = None


class RoleView(BaseModel):
    """A role's versions, oldest first. `serving` is the version that new requests use, or `base`."""

    role: Role
    aliases: dict[str, str]
    serving: str
    versions: list[VersionView]


class Adapters(BaseModel):
    roles: list[RoleView]


class Card(BaseModel):
    """The whole card, as it was published with the version."""

    role: Role
    version: str
    aliases: list[str]
    card: dict[str, Any]


class Promotion(BaseModel):
    """The version to promote, by alias or id."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[str, Field(pattern=NAME_PATTERN)] = CANDIDATE


class Change(BaseModel):
    """The aliases after a change. `notes` say what does not serve yet and what to do."""

    role: Role
    aliases: dict[str, str]
    notes: list[str]


@router.get("")
def list_adapters(caller: AskCaller, state: State) -> Adapters:
    """Each role with its published versions, oldest first, and the version that new requests use."""
    serving = state.runtime.serving()
    return Adapters(roles=[_role(state.project, role, serving.get(role.value, "base")) for role in SERVED])


@router.get("/{role}/{version}")
def show_adapter(caller: AskCaller, state: State, role: Role, version: VersionName) -> Card:
    """The card of a version: what it is, what it was trained on, and its evidence."""
    registry = state.project.registry
    found = _resolve(registry, role, version)
    try:
        card = registry.show(role, found.id)
    except AdapterError as error:
        log_error(error)
        raise ApiError(409, f"{role.value} {found.id} is damaged; the service's log says how", code="adapter_refused") from None
    return Card(role=role, version=found.id, aliases=list(found.aliases), card=plain(card))


@router.post("/{role}/promote")
def promote(
    caller: AdminCaller,
    state: State,
    role: Role,
    body: Annotated[Promotion | None, Body(openapi_examples=PROMOTE_EXAMPLES)] = None,
) -> Change:
    """Let a version serve, by default the candidate. By the held-out comparisons on its card it must be better than what serves
    now, the bare base and the floors, and lose no guard; its effect must be proven in memory. Otherwise the request is refused
    (409) and the version before serves on."""
    return promote_version(state, role, (body or Promotion()).version)[0]


def promote_version(
    state: ServiceState, role: Role, name: str, not_worse: float | None = None, *, accept_made: bool = False
) -> tuple[Change, Promoted]:
    """As the route, with the options of `lorag adapters promote`."""
    registry, done = state.project.registry, list[Promoted]()
    _require_served(state, role)
    named = _resolve(registry, role, name).id
    change = _change(
        state,
        registry,
        role,
        find=lambda: registry.admitted(role, named, not_worse=not_worse, accept_made=accept_made),
        change=lambda version: done.append(registry.promote(role, version.id, not_worse=not_worse, accept_made=accept_made)),
    )
    return change, done[0]


@router.post("/{role}/rollback")
def rollback(caller: AdminCaller, state: State, role: Role) -> Change:
    """Restore the previous version, for the embedder with the index that belongs to it. A second rollback undoes the first."""
    return roll_back(state, role)


def roll_back(state: ServiceState, role: Role) -> Change:
    """As the route."""
    registry = state.project.registry
    _require_served(state, role)
    return _change(
        state,
        registry,
        role,
        find=lambda: registry.resolve(role, PREVIOUS),
        change=lambda version: registry.rollback(role, to=version.id),
    )


def _require_served(state: State, role: Role) -> None:
    """Raises ApiError if a change of the role's aliases would not change the service's answers."""
    if role not in SERVED:
        raise ApiError(404, f"no service answers with a {role.value}; it only makes training data", param="role")
    try:
        require_production(state.settings, role)
    except ConfigError as error:
        message = f"{error} and start the service again"
        raise ApiError(409, message, param="role", code="adapter_pinned") from None


def _change(
    state: State, registry: Registry, role: Role, *, find: Callable[[], Version], change: Callable[[Version], object]
) -> Change:
    """Prove the version from `find`, let `change` write the aliases, then serve it.

    After a kill in between, the aliases name proven versions. An error while the version begins to serve undoes the change.
    """
    runtime = state.runtime
    with _change_lock:
        before, encoder = registry.aliases(role), runtime.encoder
        version = _conflict_if_refused(registry, find)
        with runtime.proven(version):
            _conflict_if_refused(registry, lambda: change(version))
            try:
                notes = runtime.refresh()
            except Exception:
                registry.undo(role, before, version.id)
                raise
        _after_refresh(state, encoder)
        return Change(role=role, aliases=dict(registry.aliases(role)), notes=list(notes))


def take_up(state: ServiceState) -> None:
    """Serve what the registry names now, as after a promotion by another process. Raises as `Runtime.refresh`."""
    runtime = state.runtime
    with _change_lock:
        encoder = runtime.encoder
        for line in runtime.refresh():
            log.warning(line)
        _after_refresh(state, encoder)


def _after_refresh(state: ServiceState, before: Encoder) -> None:
    """Check the uploads if the encoder is another than `before`: the index may be another collection, which lacks later ones."""
    if state.runtime.encoder is not before:
        jobs_of(state).check_uploads()


def _conflict_if_refused(registry: Registry, step: Callable[[], T]) -> T:
    try:
        return step()
    except AdapterError as error:
        raise ApiError(409, _without_paths(str(error), registry), code="adapter_refused") from None


def _role(project: Project, role: Role, serving: str) -> RoleView:
    registry = project.registry
    versions = [_version(registry, each) for each in project.adapters(role)]
    return RoleView(role=role, aliases=dict(registry.aliases(role)), serving=serving, versions=versions)


def _version(registry: Registry, each: CatalogueEntry) -> VersionView:
    view = VersionView(version=each.version.id, aliases=list(each.version.aliases))
    if each.card is None:
        return view.model_copy(update={"problem": _without_paths(each.problem, registry)})
    return view.model_copy(update={"created": each.card.created, "evidence": plain(each.card.evidence)})


def _resolve(registry: Registry, role: Role, name: str) -> Version:
    try:
        return registry.resolve(role, name)
    except AdapterError as error:
        raise ApiError(404, _without_paths(str(error), registry), param="version", code="no_such_adapter") from None


def _without_paths(problem: str, registry: Registry) -> str:
    """The registry's message without its folder: a client must not see paths."""
    words = " ".join(problem.split())
    return words.replace(f"{registry.folder}/", "").replace(str(registry.folder), "the registry")
