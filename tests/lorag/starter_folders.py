"""Starters for tiny bases, as they are bundled: real weights, recorded canaries, a card that says where they are from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.starter_training.bundle import invented_examples
from lorag.pipeline.adapters.canaries import CANARY_FILE, canaries_json
from lorag.pipeline.adapters.card import AdapterCard, DataFacts, card_json
from lorag.pipeline.adapters.proof import CanarySample, record_canaries
from lorag.pipeline.adapters.starters import STARTER, STARTER_DATA
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.records import Role

MakeCard = Callable[[Path, Base, Role], AdapterCard]


def bundle_tiny(place: Path, adapter: Path, base_folder: Path, role: Role, make_card: MakeCard, precision: Precision) -> Path:
    """Make the `adapter` for the base in `base_folder` a starter, in the new folder `place`; gives that folder."""
    base = resolve_base(str(base_folder))
    engine = LocalEngine(load_weights(base, precision=precision, device="cpu"))
    engine.load_adapter("x", adapter)
    samples = [CanarySample(example.messages, example.target) for example in invented_examples(role, 4)]
    (adapter / CANARY_FILE).write_text(canaries_json(record_canaries(engine, "x", samples)))
    card = make_card(adapter, base, role)
    (adapter / "card.json").write_text(card_json(replace(card, version=STARTER, data=DataFacts(STARTER_DATA, 3, {}, {}))))
    place.parent.mkdir(exist_ok=True)
    return adapter.rename(place)
