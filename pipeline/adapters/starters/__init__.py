"""The adapters that ship with LoRAG: one folder per role in this package, each in the form of a published version.

They are generic, made by `benchmarks/starter_training` from public sets, and serve until an adapter is trained on the user's
documents. Folders are looked up and read on demand.
"""

from __future__ import annotations

from pathlib import Path

from lorag.pipeline.adapters.card import CARD_FILE, AdapterCard
from lorag.pipeline.records import Role

FOLDER = Path(__file__).resolve().parent

STARTER = "starter"
"""The name of a bundled adapter, used in place of a version or an alias."""

STARTER_DATA = "lorag starter: public sets and invented documents"
"""The data's name on the card of a starter, in every registry."""


def is_starter(card: AdapterCard) -> bool:
    """Whether an adapter came with LoRAG and so has no user data in it."""
    return card.data.name == STARTER_DATA


def bundled_starters(folder: Path | None = None) -> dict[Role, Path]:
    """Role → folder of its bundled adapter, for each role that has one."""
    places = {role: (folder or FOLDER) / role.value for role in Role}
    return {role: place for role, place in places.items() if (place / CARD_FILE).is_file()}
