"""The state that the routes of one service share, stored in `app.state.lorag`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from fastapi import Request

from lorag.pipeline.config import Settings
from lorag.project import Project
from lorag.services.api.errors import ApiError
from lorag.services.api.limits import Admission
from lorag.services.api.metrics import Metrics
from lorag.services.api.replies import ReplyCache
from lorag.services.api.store_health import StoreHealth

if TYPE_CHECKING:
    from lorag.services.api.alias_watch import AliasWatch
    from lorag.services.api.background import Jobs
    from lorag.services.api.keys import KeyRing
    from lorag.services.api.runtime import Runtime

STARTING_RETRY = 5


class Lane(StrEnum):
    """What a request uses. Lanes have separate queues, because a search takes milliseconds and an answer seconds."""

    MODEL = "model"
    """The base: chains, roles, scores."""
    ENCODER = "encoder"
    """Text encoder and index without the base: searches and embeddings."""
    STORAGE = "storage"
    """Files alone: feedback."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds, in bytes, seconds and requests, so that one client cannot block the others."""

    max_queue: int = 64
    concurrency: int = 8
    """`concurrency` and `max_queue` are for the model's lane."""
    timeout: float = 120.0
    max_body: int = 1 << 20
    max_batch: int = 16 << 20
    """Of a body of embeddings: clients send a thousand passages at once."""
    max_upload: int = 32 << 20
    cache: int = 1024
    """Replies in the cache (see `services.api.replies`); 0 switches it off."""
    encoder_queue: int = 64
    encoder_concurrency: int = 4
    """A low number: the encoder runs one call at a time, and only searches run in parallel with it."""
    storage_queue: int = 64
    storage_concurrency: int = 2


@dataclass(slots=True, eq=False)
class ServiceState:
    """`opened` is the runtime once the base is in memory. Routes use `runtime`, which raises 503 before that.

    If `keys` is None, every caller has all scopes. `request.state.caller` holds an accepted caller. `jobs` and `watch` are set
    between start and end of the application. `hosts`, if given, are the only host names that the service answers to. `owner_key`
    is for commands of the project's owner (`lorag.service_address`).
    """

    project: Project
    keys: KeyRing | None = None
    limits: Limits = Limits()
    hosts: frozenset[str] | None = None
    metrics: Metrics = field(default_factory=Metrics)
    opened: Runtime | None = None
    jobs: Jobs | None = None
    watch: AliasWatch | None = None
    health: StoreHealth = field(default_factory=StoreHealth)
    owner_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    lanes: Mapping[Lane, Admission] = field(init=False)
    workers: ThreadPoolExecutor = field(init=False)
    replies: ReplyCache = field(init=False)

    def __post_init__(self) -> None:
        limits = self.limits
        self.lanes = {
            Lane.MODEL: Admission(Lane.MODEL, limits.concurrency, limits.max_queue, self.metrics),
            Lane.ENCODER: Admission(Lane.ENCODER, limits.encoder_concurrency, limits.encoder_queue, self.metrics),
            Lane.STORAGE: Admission(Lane.STORAGE, limits.storage_concurrency, limits.storage_queue, self.metrics),
        }
        # One per slot, so no lane waits for another lane's threads.
        threads = limits.concurrency + limits.encoder_concurrency + limits.storage_concurrency
        self.workers = ThreadPoolExecutor(threads, thread_name_prefix="lorag-request")
        self.replies = ReplyCache(limits.cache)

    @property
    def settings(self) -> Settings:
        return self.project.settings

    @property
    def runtime(self) -> Runtime:
        """Raises ApiError 503 while the base is still loading."""
        if self.opened is None:
            raise starting()
        return self.opened


def starting() -> ApiError:
    """The error until the runtime is open."""
    return ApiError(503, "the service is starting; try again in a moment", code="starting", retry_after=STARTING_RETRY)


def state_of(request: Request) -> ServiceState:
    """The state of the request's service; a FastAPI dependency."""
    state: Any = request.app.state.lorag
    assert isinstance(state, ServiceState)
    return state
