"""Which devices are taken, by what torch says is there."""

from __future__ import annotations

import pytest

from lorag.pipeline.engine.processor import require_device
from lorag.pipeline.engine.weights import load_weights
from lorag.pipeline.errors import BaseError
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder


@pytest.mark.parametrize(
    ("device", "gpus", "mps", "found"),
    [
        ("cpu", 0, False, None),
        ("cuda", 0, False, "no such device"),
        ("cuda", 1, False, None),
        ("cuda:1", 1, False, "only 1"),
        ("cuda:1", 2, False, None),
        ("mps", 2, False, "no such device"),
        ("mps", 0, True, None),
    ],
)
def test_a_device_must_be_there(device: str, gpus: int, mps: bool, found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    if found is None:
        require_device(device)
        return
    with pytest.raises(BaseError, match=rf"^device {device}: torch \S+ sees {found} here; set `device` to auto or cpu$"):
        require_device(device)


def test_a_missing_device_is_told_before_anything_loads(tiny_base, tiny_encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    from lorag.pipeline.engine.bases import resolve_base

    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(BaseError, match="^device cuda: "):
        load_weights(resolve_base(str(tiny_base)), device="cuda")
    with pytest.raises(BaseError, match="^device cuda: "):
        SentenceTransformerEmbedder(str(tiny_encoder), device="cuda").load()
