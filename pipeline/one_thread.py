"""Runs a blocking generator for an async consumer, all its steps in one thread of its own.

A consumer that stops early waits for the current step and closes the generator, so that no unread text is decoded. langchain's
own bridge does neither, and uses a pool thread for each step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


async def in_one_thread(start: Callable[[], Generator[Item]]) -> AsyncGenerator[Item]:
    """The items of `start()`, computed one at a time on demand. Closing or cancelling closes the generator too."""
    loop = asyncio.get_running_loop()
    done = object()
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lorag-stream")
    try:
        generator = await loop.run_in_executor(executor, start)
        try:
            while (item := await loop.run_in_executor(executor, next, generator, done)) is not done:
                yield item  # type: ignore[misc]
        finally:
            await loop.run_in_executor(executor, generator.close)
    finally:
        executor.shutdown(wait=False)
