"""The vectors of a text's tokens. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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


def joined(parts: Sequence[TokenVectors]) -> TokenVectors:
    """The tokens of all `parts`, at least one, in their order."""
    if len(parts) == 1:
        return parts[0]
    return TokenVectors(np.concatenate([part.ids for part in parts]), np.concatenate([part.vectors for part in parts]))
