"""Detects the processor's features, and chooses compute dtype and thread count by them. Loads torch only to probe threads and
devices.

bf16 halves the cost if the processor has AVX-512 BF16 or AMX, and is five times slower if not (design §9). Two threads can be
slower than one on a contended machine, so threads are probed, not assumed.
"""

from __future__ import annotations

import functools
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.errors import BaseError

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Processor:
    """The machine's relevant features. `flags` are those of /proc/cpuinfo that change a decision."""

    name: str
    cores: int
    flags: tuple[str, ...]
    cuda: str = ""

    @property
    def has_bf16(self) -> bool:
        return bool(self.cuda) or "avx512_bf16" in self.flags or "amx_bf16" in self.flags

    @property
    def has_amx(self) -> bool:
        return "amx_bf16" in self.flags


def detect(cpuinfo: Path = _CPUINFO) -> Processor:
    """Read the processor from /proc/cpuinfo; elsewhere from `platform`, with no flags known."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags |= set(value.split())
    known = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "asimd", "bf16")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Processor(name, cores, tuple(f for f in known if f in flags))


def compute_dtype(processor: Processor) -> str:
    """`bfloat16` if it is fast, else `float32`."""
    return "bfloat16" if processor.has_bf16 else "float32"


def require_device(device: str) -> None:
    """Raises BaseError if torch has no such device here; `device` is cpu, cuda, cuda:N or mps."""
    import torch

    kind, _, number = device.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available()) if kind == "mps" else 1
    if int(number or 0) >= count:
        found = f"only {count}" if count else "no such device"
        raise BaseError(f"device {device}: torch {torch.__version__} sees {found} here; set `device` to auto or cpu")


def _matmul_seconds(threads: int) -> float:
    """Best of three timings of a product shaped like one layer's work, in seconds."""
    import torch

    torch.set_num_threads(threads)
    left, right = torch.ones(512, 1536), torch.ones(1536, 576)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(8):
            left @ right
        best = min(best, time.perf_counter() - start)
    return best


@functools.cache
def probe_threads() -> int:
    """The thread count that multiplies fastest here, among 1, 2, 4 … cores. `OMP_NUM_THREADS` decides if it is set.

    Sets torch's thread count to it. More threads must be 10 % faster: on a shared machine the smaller count suffers less.
    """
    import torch

    fixed = os.environ.get("OMP_NUM_THREADS", "")
    cores = detect().cores
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n < cores] + [cores]
    if fixed.isdigit() and int(fixed) > 0:
        chosen = int(fixed)
    else:
        chosen, best = counts[0], _matmul_seconds(counts[0])
        for count in counts[1:]:
            seconds = _matmul_seconds(count)
            if seconds < best * 0.9:
                chosen, best = count, seconds
    torch.set_num_threads(chosen)
    return chosen
