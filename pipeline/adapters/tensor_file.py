"""Parses a safetensors file and checks header, bounds and values, without trusting any. Knows no LoRA.

Format: 8 bytes little-endian header length, a JSON header name → {dtype, shape, data_offsets}, then the data
(https://huggingface.co/docs/safetensors). A damaged file is reported in one line, before any library maps it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.adapters.files import open_plain
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.storage.plain_files import parse_json

MAX_BYTES = 4 << 30
_MAX_HEADER = 16 << 20
_MAX_SIDE = 1 << 24
_MAX_SIDES = 8
_CHUNK = 1 << 20
_WIDTH = {"F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's type, shape and place: `start` and `end` are byte positions in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """Number of values."""
        return (self.end - self.start) // _WIDTH[self.dtype]


def read_header(path: Path) -> tuple[Tensor, ...]:
    """The tensors of the file in the order of their data.

    Raises AdapterError unless the header is well formed, every dtype is F16, BF16 or F32, and the data match the header. Each
    tensor is as long as its shape, without overlaps, gaps or extra bytes.
    """
    with open_plain(path, MAX_BYTES) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        _require(size > 8, path, f"is {size} bytes long, which no adapter is")
        _require(length <= _MAX_HEADER, path, f"says that its header is {length} bytes long, more than allowed")
        _require(8 + length <= size, path, f"is truncated: its header should be {length} bytes long")
        data = file.read(length)
    try:
        header = parse_json(data)
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path}: its header is not JSON ({error}); copy or train the adapter again") from error
    _require(isinstance(header, dict) and data.startswith(b"{"), path, "has a header that is no object")
    metadata = header.pop("__metadata__", {})
    plain = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    _require(plain, path, "has metadata that are not texts")
    tensors = sorted((_tensor(path, str(k), v, 8 + length) for k, v in header.items()), key=lambda t: (t.start, t.end))
    _require(bool(tensors), path, "holds no tensors")
    position = 8 + length
    for tensor in tensors:
        _require(tensor.start == position, path, f"lays {tensor.name} over another tensor or leaves a gap before it")
        position = tensor.end
    _require(position <= size, path, f"is truncated: it should be {position} bytes long and is {size}")
    _require(position == size, path, f"holds {size - position} bytes that belong to no tensor")
    return tuple(tensors)


def _tensor(path: Path, name: str, entry: Any, base: int) -> Tensor:
    known = isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}
    _require(known, path, f"describes {name} with other keys than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    _require(isinstance(dtype, str) and dtype in _WIDTH, path, f"keeps {name} as {dtype}; only {', '.join(_WIDTH)} are read")
    sound = _counts(shape) and len(shape) <= _MAX_SIDES and max(shape, default=1) <= _MAX_SIDE
    _require(sound, path, f"gives {name} the shape {str(shape)[:200]}")
    _require(_counts(offsets) and len(offsets) == 2, path, f"gives {name} the data offsets {str(offsets)[:200]}")
    values = 1
    for side in shape:
        values *= side
    expected = values * _WIDTH[dtype]
    _require(
        offsets[1] - offsets[0] == expected, path, f"gives {name} {offsets[1] - offsets[0]} bytes; its shape needs {expected}"
    )
    return Tensor(name, dtype, tuple(shape), base + offsets[0], base + offsets[1])


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _require(condition: bool, path: Path, what: str) -> None:
    if not condition:
        raise AdapterError(f"{path}: {what}; copy or train the adapter again")


def read_values(path: Path, tensor: Tensor) -> Iterator[NDArray[np.float32]]:
    """The tensor's values as float32, in flat pieces of at most 2^20, so that a file of gigabytes needs little memory."""
    step = _CHUNK * _WIDTH[tensor.dtype]
    with open_plain(path, MAX_BYTES) as file:
        file.seek(tensor.start)
        for start in range(tensor.start, tensor.end, step):
            yield _floats(file.read(min(step, tensor.end - start)), tensor.dtype)


def _floats(data: bytes, dtype: str) -> NDArray[np.float32]:
    if dtype == "BF16":  # the upper half of a float32; numpy has no type for it
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, "<f4" if dtype == "F32" else "<f2").astype(np.float32)
