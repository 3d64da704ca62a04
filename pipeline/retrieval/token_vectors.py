"""The vectors of a text's tokens. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TokenVectors:
    """`ids` (n,) integers, `vectors` (n, dimension) floats of length 1. Special tokens and instructions are left out."""

    ids: NDArray[Any]
    vectors: NDArray[Any]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return int(self.ids.nbytes + self.vectors.nbytes)
