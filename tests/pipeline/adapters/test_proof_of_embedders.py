"""The proof of effect of embedder adapters: with real tiny encoders, and with encoders made of a table."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lorag.pipeline.adapters.canaries import canaries_json, read_embed_canaries
from lorag.pipeline.adapters.card import AdapterCard, card_json
from lorag.pipeline.adapters.proof import check_embed_canaries, prove_embedder, record_embed_canaries, verify_encoder
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.errors import AdapterError, IdentityMismatch, NoEffect
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.embedder import SentenceTransformerEmbedder

MakeAdapter = Callable[[Path, int, Role], Path]
MakeCard = Callable[[Path, Base, Role], AdapterCard]
TEXTS = ("Where does the ferry leave?", "Who keeps the key?", "And at night?", "Is it supported?", "When?", "Which room?")


@dataclass(frozen=True)
class Table:
    """An encoder that gives each text the vector at one angle in a plane."""

    angles: Sequence[float]

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        angles = np.radians([self.angles[TEXTS.index(text)] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_texts_that_move_most_are_kept() -> None:
    bare, tuned = Table([0] * 6), Table([5, 40, 10, 30, 20, 1])
    kept = record_embed_canaries(tuned, bare, TEXTS, keep=3)
    assert [c.text for c in kept] == [TEXTS[1], TEXTS[3], TEXTS[4]]
    assert kept[0].vector == pytest.approx((np.cos(np.radians(40)), np.sin(np.radians(40))), abs=1e-6)
    assert kept[0].bare == (1.0, 0.0)
    check_embed_canaries(tuned, kept)
    with pytest.raises(NoEffect, match="like the bare encoder's"):
        check_embed_canaries(bare, kept)


def test_nothing_to_record() -> None:
    with pytest.raises(NoEffect, match="train it longer"):
        record_embed_canaries(Table([0.1] * 6), Table([0] * 6), TEXTS)
    with pytest.raises(AdapterError, match="no texts"):
        record_embed_canaries(Table([9] * 6), Table([0] * 6), [])


@pytest.fixture(scope="module")
def tuned_folder(
    tiny_encoder: Path, tiny_adapter: MakeAdapter, tiny_card: MakeCard, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A complete embedder adapter on the tiny encoder. Not to be changed."""
    folder = tiny_adapter(tiny_encoder, 1, Role.EMBEDDER)
    bare, tuned = SentenceTransformerEmbedder(str(tiny_encoder)), SentenceTransformerEmbedder(str(tiny_encoder), adapter=folder)
    canaries = record_embed_canaries(tuned, bare, TEXTS)
    (folder / "canaries.json").write_text(canaries_json(canaries))
    base = Base(str(tiny_encoder), str(tiny_encoder), bare.identity.model_digest)
    (folder / "card.json").write_text(card_json(tiny_card(folder, base, Role.EMBEDDER)))
    return folder


@pytest.fixture
def copy(tuned_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tuned_folder, tmp_path / "copy"))


def test_real_encoder_proves_itself(tiny_encoder: Path, tuned_folder: Path) -> None:
    card = prove_embedder(SentenceTransformerEmbedder(str(tiny_encoder), adapter=tuned_folder), tuned_folder)
    assert card.role is Role.EMBEDDER
    distances = [1 - float(np.dot(c.vector, c.bare)) for c in read_embed_canaries(tuned_folder)]
    assert min(distances) > 0.01  # else the test would prove nothing


def test_bare_encoder_is_refused(tiny_encoder: Path, tuned_folder: Path) -> None:
    with pytest.raises(NoEffect, match="like the bare encoder's"):
        prove_embedder(SentenceTransformerEmbedder(str(tiny_encoder)), tuned_folder)


def test_published_embedder_proves_itself(tiny_encoder: Path, tuned_folder: Path, tiny_card: MakeCard, tmp_path: Path) -> None:
    encoder = SentenceTransformerEmbedder(str(tiny_encoder))
    base = Base("tiny-encoder", str(tiny_encoder), encoder.identity.model_digest)
    registry = Registry(tmp_path / "adapters")
    version = registry.publish(Role.EMBEDDER, tuned_folder, tiny_card(tuned_folder, base, Role.EMBEDDER))
    card = prove_embedder(SentenceTransformerEmbedder(str(tiny_encoder), adapter=version.folder), version.folder)
    assert card.version == version.id


def test_another_adapter_is_refused(tiny_encoder: Path, tuned_folder: Path, tiny_adapter: MakeAdapter) -> None:
    other = SentenceTransformerEmbedder(str(tiny_encoder), adapter=tiny_adapter(tiny_encoder, 2, Role.EMBEDDER))
    with pytest.raises(NoEffect):
        check_embed_canaries(other, read_embed_canaries(tuned_folder))


def test_wrong_scaling_is_refused(tiny_encoder: Path, copy: Path) -> None:
    settings = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps({**settings, "use_rslora": True}))
    with pytest.raises(NoEffect, match="adapter embedder"):
        prove_embedder(SentenceTransformerEmbedder(str(tiny_encoder), adapter=copy), copy)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model_digest": "f" * 64, "model": "other"}, "here is other"),
        ({"pooling": "cls"}, "trained with pooling mean, the embedder here has cls"),
        ({"query_side_only": True}, "trained with query_side_only False, the embedder here has True"),
    ],
)
def test_identity(tiny_encoder: Path, tuned_folder: Path, tiny_card: MakeCard, change: dict[str, object], word: str) -> None:
    identity = SentenceTransformerEmbedder(str(tiny_encoder)).identity
    base = Base("tiny-encoder", str(tiny_encoder), identity.model_digest)
    card = tiny_card(tuned_folder, base, Role.EMBEDDER)
    digest = card.identity.weights_digest
    verify_encoder(card, identity, weights_digest=digest)
    with pytest.raises(IdentityMismatch, match=word):
        verify_encoder(card, dataclasses.replace(identity, **change), weights_digest=digest)  # type: ignore[arg-type]
    with pytest.raises(AdapterError, match="takes embedder adapters only"):
        verify_encoder(dataclasses.replace(card, role=Role.JUDGE), identity, weights_digest=digest)
