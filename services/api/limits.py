"""Admission to a lane of requests: bounded numbers run and wait, and the next is refused at once. Knows no route or model."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass

from lorag.services.api.errors import ApiError
from lorag.services.api.metrics import Metrics


class Admission:
    """Admits `concurrency` requests to run and `max_queue` to wait, both counted under `lane`. Used from one event loop."""

    def __init__(self, lane: str, concurrency: int, max_queue: int, metrics: Metrics) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._concurrency, self._max_queue = concurrency, max_queue
        self._running, self._queue = metrics.running.labels(lane), metrics.waiting.labels(lane)
        self._rejected = metrics.rejected.labels("queue full")
        self._waiting = 0
        self._seconds = 1.0

    async def enter(self) -> Slot:
        """Wait for a slot, which the caller ends. Raises ApiError 429 at once if the queue is full."""
        if self._slots.locked() and self._waiting >= self._max_queue:
            self._rejected.inc()
            message = f"{self._waiting} requests are waiting already; try again later"
            raise ApiError(429, message, code="queue_full", retry_after=self._wait())
        self._waiting += 1
        self._queue.inc()
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
            self._queue.dec()
        self._running.inc()
        return Slot(self, time.monotonic())

    def leave(self, seconds: float) -> None:
        """Free a slot that was used for `seconds`."""
        self._running.dec()
        self._slots.release()
        self._seconds += 0.1 * (seconds - self._seconds)

    def _wait(self) -> int:
        """Estimated whole seconds until a slot is free, by the duration of recent requests."""
        return min(120, max(1, math.ceil(self._seconds * (self._waiting + 1) / self._concurrency)))


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to run until `end`."""

    admission: Admission
    started: float

    def end(self) -> None:
        self.admission.leave(time.monotonic() - self.started)
