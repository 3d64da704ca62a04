"""Runs a function in its own process: peak memory is counted per process, and one run must not slow the next."""

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


def in_own_process(name: str, function: Callable[..., T], *arguments: Any) -> T:
    """Return or raise what `function` does in a new process. Raises LoragError if the process dies."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(function, *arguments).result()
    except BrokenProcessPool:
        cause = "most likely because memory ran out; lower the batch, or leave it out"
        raise LoragError(f"the process of {name} died, {cause}") from None


def progress_lines(name: str) -> Callable[[Progress], None]:
    """A callback that prints the progress of a training to stderr, every 25 steps."""

    def show(progress: Progress) -> None:
        if progress.step % 25 == 0 or progress.step == progress.total:
            left = f", {progress.seconds_left / 60:.0f} min left" if progress.seconds_left else ""
            line = f"{name}: step {progress.step} of {progress.total}, loss {progress.loss:.3f}{left}"
            print(line, file=sys.stderr, flush=True)

    return show
