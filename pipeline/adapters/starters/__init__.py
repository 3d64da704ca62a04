"""The adapters that ship with LoRAG: one folder a role beside this file, each as a published version looks.

They are generic, made by `benchmarks/starter_training` from public sets, and serve until something is trained on one's own
documents. Which of them are there is found by looking; nothing is read before it is asked for.
"""

from __future__ import annotations

from pathlib import Path

from lorag.pipeline.adapters.card import CARD_FILE, AdapterCard
from lorag.pipeline.records import Role

FOLDER = Path(__file__).resolve().parent

STARTER = "starter"
"""What a bundled adapter is called where a version or an alias may stand."""

STARTER_DATA = "lorag starter: public sets and invented documents"
"""What the card of a starter names its data, wherever it is published."""


def is_starter(card: AdapterCard) -> bool:
    """Whether an adapter came with LoRAG: nothing of the user's own is in it."""
    return card.data.name == STARTER_DATA


def bundled_starters(folder: Path | None = None) -> dict[Role, Path]:
    """Role → folder of its bundled adapter, for each role that has one."""
    places = {role: (folder or FOLDER) / role.value for role in Role}
    return {role: place for role, place in places.items() if (place / CARD_FILE).is_file()}
