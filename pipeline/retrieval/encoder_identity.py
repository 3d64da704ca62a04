"""The identity of a text encoder, by which an index refuses vectors of another one. Pure data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """`model` and `adapter` are names for messages; all other fields determine the vectors.

    `model_digest` and `adapter_digest` (empty: none) are SHA-256 over weights and settings. With `query_side_only` the adapter
    works on queries and passages are embedded by the bare model. `max_length` counts tokens, 0 if unlimited. The templates
    contain `{text}`.
    """

    model: str
    model_digest: str
    adapter: str = ""
    adapter_digest: str = ""
    query_side_only: bool = False
    pooling: str = "mean"
    normalised: bool = True
    max_length: int = 0
    query_template: str = "{text}"
    passage_template: str = "{text}"

    def digest(self) -> str:
        """SHA-256 over everything that determines a vector of either side; names do not count."""
        return _digest({key: value for key, value in asdict(self).items() if key not in ("model", "adapter")})

    def passage_digest(self) -> str:
        """SHA-256 over everything that determines a passage vector. Two encoders with the same one can share an index."""
        adapter = "" if self.query_side_only else self.adapter_digest
        parts = (self.model_digest, adapter, self.pooling, self.normalised, self.max_length, self.passage_template)
        return _digest(parts)

    def can_search(self, index: EncoderIdentity) -> bool:
        """Whether questions embedded by this encoder may be compared with passages embedded by `index`."""
        return self.passage_digest() == index.passage_digest()

    def describe(self) -> str:
        """One short phrase for messages, such as `minilm (3f2a91c0) with adapter embedder@v2 (77ab01d4), query side only`."""
        text = f"{self.model} ({self.model_digest[:8]})"
        if self.adapter_digest:
            text += f" with adapter {self.adapter} ({self.adapter_digest[:8]})" + (
                ", query side only" if self.query_side_only else ""
            )
        return text

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EncoderIdentity:
        """Raises TypeError if a field is missing; unknown keys, of a newer version, are ignored."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in names})


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
