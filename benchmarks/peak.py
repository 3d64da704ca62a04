"""What the peak of this process's memory was."""

from __future__ import annotations

import contextlib
import resource
import sys


def peak_memory() -> int:
    """Bytes that this process held at most since it began or `reset_peak`: on CUDA the device's memory, else its own.

    The system's figure for one address space, where Linux gives it: that of `getrusage` begins at what the parent held.
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
    """Forget the highest so far: `peak_memory` is then what is held now, where the system allows it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")
