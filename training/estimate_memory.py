"""The peak of a training run's memory, part by part, from the result of `estimate_trace` and a few measured constants.

On a CPU the peak is that of the process's resident memory (VmHWM), on a GPU that of GPU memory. The constants are of torch 2.13,
transformers 5.23, peft 0.21, trl 1.16 and bitsandbytes 0.50 on x86-64 with glibc; `benchmarks/memory_estimate.py` compares
estimates with measured peaks. Loads no model library.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from math import ceil

from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import ConfigError
from lorag.training.estimate_trace import Traced

MIB, GIB = 1 << 20, 1 << 30

LIBRARIES = {"sft": 570 * MIB, "contrastive": 620 * MIB}
"""Resident memory of a CPU process with its trainer, without model and adapter. Measured."""

GPU_CONTEXT = 600 * MIB
"""GPU memory of CUDA and its libraries before the first tensor. The usual figure; not measured here."""

HEAP = {"sft": 1.40, "contrastive": 1.18}
"""Memory that glibc's heap takes per byte of activations. A decoder's layers free large temporaries between tensors that stay,
and later tensors do not fit the holes. An encoder's layers keep nearly all large tensors, but each batch has another length and
fragments the heap anew. Measured for minilm: 1.0 over 3 steps of equal length, 1.6 over 44 of real rows; this lies between."""

HEAP_LIMIT = 32 * MIB
"""glibc's highest mmap threshold: larger tensors are mapped on their own and do not fragment the heap."""

GPU_BLOCKS = 1.10
"""The same factor for torch's caching allocator on a GPU. Assumed."""

NF4_BLOCK = 64
WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
GRADIENT, ADAM, ADAM_8BIT, FULL = 4, 8, 2, 4
"""Bytes per trained parameter: its gradient, the optimiser's two moments in float32 or in 8 bit, the parameter itself."""

LOSS_COPIES = 3
"""float32 arrays of the size of the logits at the loss's peak: log-probabilities, their gradient, and that of the logits."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory in bytes by use. Logits are freed before the layers' backward pass needs its workspace."""

    libraries: int
    base: int
    adapter: int
    activations: int
    logits: int
    workspace: int

    @property
    def total(self) -> int:
        return self.libraries + self.base + self.adapter + self.activations + max(self.logits, self.workspace)

    def parts(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SftPass:
    """The input of one SFT pass: `rows` of the traced length, with logits at `scored` positions, in all rows together."""

    rows: int
    scored: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class SftSettings:
    """The settings of a supervised run. `stored` is the dtype of the base's files, `compute` that of activations.

    `recomputed` is gradient checkpointing: layers keep only their input. `eight_bit` is for the optimiser's moments.
    """

    precision: Precision
    compute: str
    device: str
    stored: str
    recomputed: bool = False
    eight_bit: bool = False


def sft_memory(traced: Traced, load: SftPass, setting: SftSettings) -> Memory:
    """The peak of a supervised run."""
    on_cpu, precision, compute = setting.device == "cpu", setting.precision, setting.compute
    width = WIDTH[compute]
    return Memory(
        libraries=LIBRARIES["sft"] if on_cpu else GPU_CONTEXT,
        base=base_bytes(traced, precision, compute, setting.stored, on_cpu=on_cpu),
        adapter=traced.trainable * (FULL + GRADIENT + (ADAM_8BIT if setting.eight_bit else ADAM)),
        activations=activations(traced, load.rows, recomputed=setting.recomputed, on_cpu=on_cpu),
        logits=load.scored * load.vocabulary * (LOSS_COPIES * 4 + width),
        workspace=_workspace(traced, load.rows, precision, width),
    )


@dataclass(frozen=True, slots=True)
class EncoderPass:
    """The input of an encoder before a backward pass: `tokens`, with padding, in `passes` groups.

    It was traced with `traced_tokens` in a group of the longest texts; shorter ones keep no more per token.
    """

    tokens: int
    passes: int
    traced_tokens: int


def contrastive_memory(traced: Traced, reading: EncoderPass, *, stored: str, device: str, recomputed: bool = False) -> Memory:
    """The peak of a contrastive run; `recomputed` is gradient checkpointing."""
    on_cpu = device == "cpu"
    share = reading.tokens / reading.traced_tokens
    if recomputed:
        outside = sum(traced.saved_tensors) + traced.weight_copies - traced.in_layers
        saved_tensors = (outside + traced.layer_inputs) * share + traced.widest_layer
    else:
        saved_tensors = sum(traced.saved_tensors) * share + traced.weight_copies * reading.passes
    return Memory(
        libraries=LIBRARIES["contrastive"] if on_cpu else GPU_CONTEXT,
        base=traced.parameters * WIDTH.get(stored, 4),
        adapter=traced.trainable * (FULL + GRADIENT + ADAM),
        activations=int(saved_tensors * (HEAP["contrastive"] if on_cpu else GPU_BLOCKS)),
        logits=0,
        workspace=2 * max(traced.saved_tensors, default=0),
    )


def activations(traced: Traced, rows: int, *, recomputed: bool, on_cpu: bool) -> int:
    """Bytes of activations that `rows` rows keep until their backward pass, with the allocator's overhead.

    If layers are recomputed, only their inputs stay, and the activations of one layer at a time.
    """
    if recomputed:
        outside = sum(traced.saved_tensors) + traced.weight_copies - traced.in_layers
        saved_tensors = rows * (outside + traced.layer_inputs + traced.widest_layer)
        return int(saved_tensors * (HEAP["sft"] if on_cpu else GPU_BLOCKS))
    sizes = [*(size * rows for size in traced.saved_tensors), traced.weight_copies]
    if not on_cpu:
        return int(sum(sizes) * GPU_BLOCKS)
    return int(sum(size * (HEAP["sft"] if size < HEAP_LIMIT else 1) for size in sizes))


def base_bytes(traced: Traced, precision: Precision, compute: str, stored: str, *, on_cpu: bool) -> int:
    """Bytes of the base's weights. On a CPU the file stays mapped while any of its tensors is in use, quantized or not."""
    whole = traced.parameters * WIDTH[compute]
    if precision is Precision.NF4:
        # One scale a block in float32; quantized itself on a GPU (double quantization: 8 bit, and one float32 in 256 blocks).
        scale = 4.0 if on_cpu else 1 + 4 / 256
        quantized = ceil(traced.linear * (0.5 + scale / NF4_BLOCK))
    elif precision is Precision.INT8:
        quantized = traced.linear + 4 * traced.linear_outputs
    else:
        return whole
    if on_cpu and stored == compute:
        return whole + quantized
    return (traced.parameters - traced.linear) * WIDTH[compute] + quantized


def _workspace(traced: Traced, rows: int, precision: Precision, width: int) -> int:
    """One matrix restored from its quantized form, and gradients of the largest tensor that a layer keeps."""
    restored = traced.widest * width if precision in (Precision.NF4, Precision.INT8) else 0
    return restored + 2 * rows * max(traced.saved_tensors, default=0)


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)


def read_size(text: str) -> int:
    """`6GiB`, `900 MB`, `6G` → bytes; with `i`, and without B, units are powers of 1,024. Raises ConfigError."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ConfigError(f"memory {text!r}: give a number and a unit, such as 6GiB or 900MiB")
    number, unit, binary = float(found[1]), found[2].upper(), bool(found[3]) or not text.rstrip().upper().endswith("B")
    size = int(number * (_UNITS[unit] if binary else 1000 ** "KMGT".index(unit) * 1000 if unit else 1))
    if size == 0:
        raise ConfigError(f"memory {text!r}: give more than nothing, such as 6GiB")
    return size


def show_size(size: float) -> str:
    """Bytes as `1.62 GiB` or `320 MiB`."""
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"
