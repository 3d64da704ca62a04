"""Blocking work for an async route: in its lane's turn, in a thread of its own, with a deadline, given up when the client goes.

All steps of one request run in one thread, since its limits are that thread's (`pipeline.engine.limits`); no engine is locked
between steps. The turn ends when the thread does, so what is given up still counts until it has stopped.
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
"""nginx's status for a client that closed the connection; nobody reads it but the log."""


async def run(request: Request, work: Callable[[], Item], lane: Lane = Lane.MODEL) -> Item:
    """What `work` returns. Raises what it raises; ApiError 429, 504 or 499 as `items` does."""

    def once() -> Generator[Item]:
        yield work()

    async with aclosing(items(request, once, lane)) as results:
        async for result in results:
            return result
    raise AssertionError("the generator yields once")


async def items(request: Request, start: Callable[[], Generator[Item]], lane: Lane = Lane.MODEL) -> AsyncGenerator[Item]:
    """The items of `start()` as they come. Close it when done: that stops the work too.

    Raises what the generator raises; ApiError 429 where the lane's queue is full, 504 past the deadline, 499 where the client has
    gone.
    """
    state = state_of(request)
    deadline = time.monotonic() + state.limits.timeout
    gone = asyncio.create_task(_disconnected(request))
    limits = CallLimits(deadline)
    # A client that goes while a piece is sent leaves this generator suspended: the work must not run on until it is collected.
    gone.add_done_callback(lambda _: limits.cancelled.set())
    try:
        turn = await _soon(state.lanes[lane].enter(), gone, deadline, state)
        loop, results = asyncio.get_running_loop(), asyncio.Queue[Callable[[], Item | None]]()

        def tell(result: Callable[[], Item | None]) -> None:
            with suppress(RuntimeError):  # the loop has ended: the service was told twice to stop
                loop.call_soon_threadsafe(results.put_nowait, result)

        def done(_: object) -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(turn.end)

        state.workers.submit(_pump, start, limits, tell).add_done_callback(done)
        while (result := await _soon(results.get(), gone, deadline, state)) is not _end:
            yield result()  # type: ignore[misc]
    finally:
        limits.cancelled.set()
        gone.cancel()


def _end() -> None:
    """The result that stands for the end of the items."""


def _pump(start: Callable[[], Generator[Item]], limits: CallLimits, tell: Callable[[Callable[[], Item | None]], None]) -> None:
    """Run the generator under `limits` and tell each item, then the end, or the error in place of an item."""

    def raising(error: BaseException) -> Callable[[], Item | None]:
        def raise_it() -> Item | None:
            raise error

        return raise_it

    try:
        with limited(limits), closing(start()) as generator:
            for item in generator:
                tell(lambda item=item: item)  # type: ignore[misc]
                if (reason := limits.over()) is not None:
                    raise reason
        tell(_end)
    except BaseException as error:
        tell(raising(error))


async def _soon(awaited: Coroutine[Any, Any, Item], gone: asyncio.Task[None], deadline: float, state: ServiceState) -> Item:
    """What `awaited` gives before the deadline and while the client is there."""
    task = asyncio.create_task(awaited)
    try:
        await asyncio.wait({task, gone}, timeout=max(0.0, deadline - time.monotonic()), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
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
    """Returns when the client has closed the connection. The body has been read, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
