"""Returns freed memory to the system, so that the peak of a process is that of its largest stage and not the sum."""

from __future__ import annotations

import ctypes
import gc


def release_memory() -> None:
    """Collect garbage and have glibc return its free memory. Without glibc, collect only."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
