"""Blocking work for an async route: in a slot of its lane and a thread, with a deadline, cancelled if the client disconnects.

All steps of one request run in one thread, because its limits belong to that thread (`pipeline.engine.limits`). No engine is
locked between steps. The slot is freed when the thread's work ends, so cancelled work counts until it has stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, closing, suppress
from typing import Any, TypeVar

from fastapi import Request

from lorag.pipeline.engine.limits import CallLimits, limited
from lorag.services.api.errors import ApiError
from lorag.services.api.state import Lane, ServiceState, state_of

Item = TypeVar("Item")

GONE = 499
"""nginx's status for a client that closed the connection. Only the log shows it."""


async def run(request: Request, work: Callable[[], Item], lane: Lane = Lane.MODEL) -> Item:
    """The result of `work`. Raises as `work`, and ApiError 429, 504 or 499 as `items`."""

    def once() -> Generator[Item]:
        yield work()

    async with aclosing(items(request, once, lane)) as results:
        async for result in results:
            return result
    raise AssertionError("the generator yields once")


async def items(request: Request, start: Callable[[], Generator[Item]], lane: Lane = Lane.MODEL) -> AsyncGenerator[Item]:
    """The items of `start()` as they come. Closing the generator stops the work.

    Raises as the generator, and ApiError: 429 if the lane's queue is full, 504 after the deadline, 499 if the client has
    disconnected.
    """
    state = state_of(request)
    deadline = time.monotonic() + state.limits.timeout
    disconnected = asyncio.create_task(_disconnected(request))
    limits = CallLimits(deadline)
    # If the client disconnects while a piece is sent, this generator stays suspended. Without this, the work would run on until
    # the generator is collected.
    disconnected.add_done_callback(lambda _: limits.cancelled.set())
    try:
        slot = await _before_deadline(state.lanes[lane].enter(), disconnected, deadline, state)
        loop, results = asyncio.get_running_loop(), asyncio.Queue[Callable[[], Item | None]]()

        def send(result: Callable[[], Item | None]) -> None:
            with suppress(RuntimeError):  # the loop has ended, after a second signal to stop
                loop.call_soon_threadsafe(results.put_nowait, result)

        def done(_: object) -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(slot.end)

        state.workers.submit(_pump, start, limits, send).add_done_callback(done)
        while (result := await _before_deadline(results.get(), disconnected, deadline, state)) is not _end:
            yield result()  # type: ignore[misc]
    finally:
        limits.cancelled.set()
        disconnected.cancel()


def _end() -> None:
    """The result that marks the end of the items."""


def _pump(start: Callable[[], Generator[Item]], limits: CallLimits, send: Callable[[Callable[[], Item | None]], None]) -> None:
    """Run the generator under `limits` and send each item, then the end, or the error in place of an item."""

    def raising(error: BaseException) -> Callable[[], Item | None]:
        def raise_it() -> Item | None:
            raise error

        return raise_it

    try:
        with limited(limits), closing(start()) as generator:
            for item in generator:
                send(lambda item=item: item)  # type: ignore[misc]
                if (reason := limits.over()) is not None:
                    raise reason
        send(_end)
    except BaseException as error:
        send(raising(error))


async def _before_deadline(
    awaited: Coroutine[Any, Any, Item], disconnected: asyncio.Task[None], deadline: float, state: ServiceState
) -> Item:
    """The result of `awaited`. Raises ApiError 504 after the deadline, 499 if the client disconnects first."""
    task = asyncio.create_task(awaited)
    timeout = max(0.0, deadline - time.monotonic())
    try:
        await asyncio.wait({task, disconnected}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if disconnected.done():
            state.metrics.rejected.labels("client gone").inc()
            raise ApiError(GONE, "the client has gone", code="cancelled")
        state.metrics.rejected.labels("deadline").inc()
        message = f"no answer within {state.limits.timeout:g} s; ask something shorter, or try again later"
        raise ApiError(504, message, code="timeout")
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _disconnected(request: Request) -> None:
    """Return when the client has closed the connection. The body has been read, so no other message follows."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
