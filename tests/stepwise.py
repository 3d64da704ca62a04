"""Kills a piece of work right before each call that changes the disk, one call later each time, in forks of this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

CALLS = ("mkdir", "rename", "replace", "fsync", "unlink", "rmdir", "truncate", "ftruncate")


def _die_at(number: int) -> None:
    """End this process, as SIGKILL does, right before that call of them all."""
    count = 0

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                os._exit(9)
            return real(*arguments, **options)

        return call

    for name in CALLS:
        setattr(os, name, guarded(getattr(os, name)))


def run_stepwise(work: Callable[[], object], after: Callable[[int], bool], first: int = 1) -> None:
    """Begin `work` again and again, killed before call `first`, the next, …, and call `after` with each exit status (9: killed).

    Ends when nothing was left to be cut short, or `after` says True.
    """
    step, status = first, 9
    while status == 9:
        child = os.fork()
        if child == 0:
            _die_at(step)
            work()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        step += 1
        if after(status):
            return


def report(status: int) -> bool:
    """For `after`: tell the parent, and go on when it says so."""
    print(status, flush=True)
    input()
    return False
