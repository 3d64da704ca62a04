"""A caller's deadline and cancellation, carried by the context, not by arguments.

Stages, chain and runnables are between a server's request and the engine. A context variable passes what concerns the two ends
alone; an argument would be in every signature between them. It follows the thread (or task) that sets it:

    with limited(CallLimits.of(seconds=30, cancelled=event)):
        chain.ask(query)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from lorag.pipeline.errors import Cancelled, DeadlinePassed


@dataclass(frozen=True, slots=True)
class CallLimits:
    """`deadline` counts as `time.monotonic()` does; None waits for ever. Set `cancelled`, from any thread, to cancel."""

    deadline: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, seconds: float | None = None, cancelled: threading.Event | None = None) -> CallLimits:
        """Limits that end `seconds` from now."""
        deadline = None if seconds is None else time.monotonic() + seconds
        return cls(deadline, cancelled or threading.Event())

    def remaining(self) -> float | None:
        """Seconds left, at least 0; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def over(self) -> Cancelled | DeadlinePassed | None:
        """Why the caller no longer waits; None if it does."""
        if self.cancelled.is_set():
            return Cancelled("the request was cancelled")
        if self.remaining() == 0:
            return DeadlinePassed("the time given to this request is over; allow more time or ask for a shorter reply")
        return None


_current: ContextVar[CallLimits | None] = ContextVar("lorag_limits", default=None)


def current_limits() -> CallLimits:
    """The limits of this thread or task; unlimited if none are set."""
    return _current.get() or CallLimits()


@contextmanager
def limited(limits: CallLimits) -> Iterator[None]:
    """Within, in this thread or task: requests to an engine that checks limits are under `limits`."""
    token = _current.set(limits)
    try:
        yield
    finally:
        _current.reset(token)
