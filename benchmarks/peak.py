"""The peak memory of this process."""

from __future__ import annotations

import contextlib
import resource
import sys


def peak_memory() -> int:
    """Peak memory in bytes since the process began or `reset_peak`: on CUDA the device's memory, else its own.

    It is VmHWM if Linux gives it, since the peak of `getrusage` includes that of the parent process.
    """
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def reset_peak() -> None:
    """Reset the peak to the memory in use now, if the system allows it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")
