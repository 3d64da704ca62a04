"""What only the making of starters needs of the public sets: the licence of each, and the intent set's labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.starter_training.sources import Split, read_rows

LICENCES: Mapping[str, str] = {
    "squad_newwiki": "CC BY 4.0, its passages CC BY-SA",
    "squad_reddit": "CC BY 4.0",
    "qed_nq": "CC BY-SA 3.0",
    "pubmedqa": "MIT",
    "pacific_finance": "MIT, CC BY 4.0",
    "medquad": "CC BY 4.0",
    "rewrite_canard": "CC BY-SA 4.0",
    "rewrite_cast": "MIT",
    "rewrite_ikat23": "MIT",
    "rewrite_gecor": "CC BY 4.0",
    "rewrite_alexa_cqr": "MIT-0",
    "rewrite_pacific": "MIT, CC BY 4.0",
    "intent_clinc150": "CC BY 3.0",
}
"""The sets that starters are trained on, with the licence of each."""


@dataclass(frozen=True, slots=True)
class SourceLabel:
    """A text and its human intent label."""

    id: str
    text: str
    label: str


def read_labels(folder: Path, name: str, split: Split) -> tuple[SourceLabel, ...]:
    """The rows of an intent set's own split (`val` is its dev)."""
    file = f"{name}.{'val' if split == 'dev' else split}"
    return tuple(SourceLabel(row["id"], row["text"], row["label"]) for row in read_rows(folder, file))
