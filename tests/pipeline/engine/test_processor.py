"""What is read of the processor on sample machines, and who decides on threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorag.pipeline.engine import processor
from lorag.pipeline.engine.processor import Processor, compute_dtype, detect, probe_threads

ZEN5 = (
    "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx512_bf16\n\n"
    "processor\t: 1\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx512_bf16\n"
)
SKYLAKE = "model name\t: Intel(R) Xeon(R) Gold: 6148\nflags\t\t: avx2 avx512f avx512cd\n"
SAPPHIRE = "model name\t: Intel(R) Xeon(R) Platinum 8480+\nflags\t\t: avx2 avx512f avx512_vnni amx_bf16 amx_tile\n"
HASWELL = "model name\t: Intel(R) Core(TM) i5-4460\nflags\t\t: avx avx2 fma\n"
GRAVITON = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd bf16 i8mm\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("text", "name", "flags", "dtype"),
    [
        (ZEN5, "AMD EPYC", ("avx2", "avx512f", "avx512_bf16", "avx512_vnni"), "bfloat16"),
        (SKYLAKE, "Intel(R) Xeon(R) Gold: 6148", ("avx2", "avx512f"), "float32"),
        (SAPPHIRE, "Intel(R) Xeon(R) Platinum 8480+", ("avx2", "avx512f", "avx512_vnni", "amx_bf16"), "bfloat16"),
        (HASWELL, "Intel(R) Core(TM) i5-4460", ("avx2",), "float32"),
        (GRAVITON, platform.processor() or platform.machine(), ("asimd", "bf16"), "float32"),
        ("", platform.processor() or platform.machine(), (), "float32"),
        ("garbage\n:\nflags\n", platform.processor() or platform.machine(), (), "float32"),
    ],
)
def test_detect(text: str, name: str, flags: tuple[str, ...], dtype: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    found = detect(tmp_path / "cpuinfo")
    assert (found.name, found.flags, compute_dtype(found)) == (name, flags, dtype)


def test_no_cpuinfo(tmp_path: Path) -> None:
    found = detect(tmp_path / "absent")
    assert found.flags == () and found.cores == len(os.sched_getaffinity(0)) and compute_dtype(found) == "float32"


def test_cores_are_those_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert detect().cores == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_gpu_has_bf16() -> None:
    assert compute_dtype(Processor("x", 1, (), cuda="NVIDIA H100")) == "bfloat16"


@pytest.fixture
def fresh_probe() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    probe_threads.cache_clear()
    yield
    probe_threads.cache_clear()
    torch.set_num_threads(before)


@pytest.mark.parametrize("fixed", ["1", "3"])
def test_omp_num_threads_decides(fixed: str, fresh_probe: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def measured(threads: int) -> float:
        raise AssertionError("measured although the user decided")

    monkeypatch.setenv("OMP_NUM_THREADS", fixed)
    monkeypatch.setattr(processor, "_matmul_seconds", measured)
    assert probe_threads() == int(fixed) == torch.get_num_threads()


@pytest.mark.parametrize(
    ("cores", "seconds", "chosen"),
    [
        (1, {1: 1.0}, 1),
        (2, {1: 1.0, 2: 0.55}, 2),
        (2, {1: 1.0, 2: 0.95}, 1),  # not worth it: less than a tenth faster
        (2, {1: 1.0, 2: 4.0}, 1),
        (8, {1: 1.0, 2: 0.6, 4: 0.58, 8: 0.3}, 8),
        (6, {1: 1.0, 2: 0.6, 4: 0.4, 6: 0.5}, 4),
    ],
)
@pytest.mark.parametrize("setting", ["", "0", "many"])
def test_threads_are_what_measures_fastest(
    cores: int, seconds: dict[int, float], chosen: int, setting: str, fresh_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    tried: list[int] = []

    def measured(threads: int) -> float:
        tried.append(threads)
        return seconds[threads]

    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    monkeypatch.setattr(processor, "detect", lambda: Processor("x", cores, ()))
    monkeypatch.setattr(processor, "_matmul_seconds", measured)
    assert probe_threads() == chosen == torch.get_num_threads()
    assert probe_threads() == chosen and tried == list(seconds)
