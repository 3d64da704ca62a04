"""One piece of work in a process of its own: peak memory is counted a process, and what one run leaves must not slow the next."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from lorag.pipeline.errors import LoragError
from lorag.training.progress import Progress

T = TypeVar("T")


def in_own_process(name: str, work: Callable[..., T], *arguments: Any) -> T:
    """What `work` returns or raises there. Raises LoragError if the process dies."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(work, *arguments).result()
    except BrokenProcessPool:
        cause = "most likely because memory ran out; lower the batch, or leave it out"
        raise LoragError(f"the process of {name} died, {cause}") from None


def progress_lines(name: str) -> Callable[[Progress], None]:
    """Says on the error stream how far a training is, every 25 steps."""

    def show(progress: Progress) -> None:
        if progress.step % 25 == 0 or progress.step == progress.total:
            left = f", {progress.seconds_left / 60:.0f} min left" if progress.seconds_left else ""
            line = f"{name}: step {progress.step} of {progress.total}, loss {progress.loss:.3f}{left}"
            print(line, file=sys.stderr, flush=True)

    return show
