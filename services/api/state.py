"""What the routes of one service share. It lies in `app.state.lorag`."""

from __future__ import annotations

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
from lorag.services.api.replies import Replies

if TYPE_CHECKING:
    from lorag.services.api.background import Jobs
    from lorag.services.api.keys import KeyRing
    from lorag.services.api.runtime import Runtime

STARTING_RETRY = 5


class Lane(StrEnum):
    """What a request works with. A request waits for others of its lane alone: a search takes milliseconds, an answer seconds."""

    MODEL = "model"
    """The base: chains, roles, scores."""
    ENCODER = "encoder"
    """Text encoder and index, never the base: searches and embeddings."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that keep one client from taking the service from the others. Bytes, seconds and requests."""

    max_queue: int = 64
    concurrency: int = 8
    """This and `max_queue` are of the model's lane."""
    timeout: float = 120.0
    max_body: int = 1 << 20
    max_upload: int = 32 << 20
    cache: int = 1024
    """Replies remembered (see `services.api.replies`); 0 switches that off."""
    encoder_queue: int = 64
    encoder_concurrency: int = 4
    """Few: the encoder takes one call at a time, and what runs beside it is the search."""


@dataclass(slots=True, eq=False)
class ServiceState:
    """`opened` is the runtime once the base is in memory; routes take it from `runtime`, which says 503 before.

    `keys` None: the service is open, every caller has all scopes. A caller that was let in stands in `request.state.caller`.
    `jobs` is there between start and end of the application. `hosts`, where given, are the only names it answers to.
    """

    project: Project
    keys: KeyRing | None = None
    limits: Limits = Limits()
    hosts: frozenset[str] | None = None
    metrics: Metrics = field(default_factory=Metrics)
    opened: Runtime | None = None
    jobs: Jobs | None = None
    lanes: Mapping[Lane, Admission] = field(init=False)
    workers: ThreadPoolExecutor = field(init=False)
    replies: Replies = field(init=False)

    def __post_init__(self) -> None:
        limits = self.limits
        self.lanes = {
            Lane.MODEL: Admission(Lane.MODEL, limits.concurrency, limits.max_queue, self.metrics),
            Lane.ENCODER: Admission(Lane.ENCODER, limits.encoder_concurrency, limits.encoder_queue, self.metrics),
        }
        threads = limits.concurrency + limits.encoder_concurrency  # one for each turn, so no lane waits for the other's
        self.workers = ThreadPoolExecutor(threads, thread_name_prefix="lorag-request")
        self.replies = Replies(limits.cache)

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
    """What is answered until all is open."""
    return ApiError(503, "the service is starting; try again in a moment", code="starting", retry_after=STARTING_RETRY)


def state_of(request: Request) -> ServiceState:
    """The state of the service that `request` came to; a FastAPI dependency."""
    state: Any = request.app.state.lorag
    assert isinstance(state, ServiceState)
    return state
