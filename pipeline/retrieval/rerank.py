"""Optional reranking: a cross-encoder reads question and passage together and reorders the hits.

Knows nothing of indexes. Used only if the settings name a model.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from lorag.pipeline.errors import BaseError
from lorag.pipeline.records import Hit
from lorag.pipeline.retrieval.embedder import passage_text
from lorag.pipeline.retrieval.sentence_encoder import resolve_model

RESERVED = 2
"""Positions that models of RoBERTa's kind keep for padding."""


class Reranker(Protocol):
    """Safe to call from several threads."""

    def rerank(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        """The best `k` of `hits`, best first, with the reranker's scores; ties keep their order."""
        ...


class CrossEncoderReranker:
    """`model` is a folder or hub id of a sentence-transformers cross-encoder with one output. Loads at first use or `load()`."""

    def __init__(self, model: str, *, batch_size: int = 32, device: str | None = None) -> None:
        self._name = model
        self._batch_size = batch_size
        self._device = device
        self._lock = threading.RLock()
        self._model: Any = None

    def load(self) -> Any:
        """Load the model on the first call, and return the `CrossEncoder`.

        Raises:
            BaseError: it cannot be found or loaded, or gives several scores a pair.
        """
        with self._lock:
            if self._model is None:
                self._model = _load(self._name, self._device)
            return self._model

    def rerank(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        if not hits:
            return []
        with self._lock:
            pairs = [(question, passage_text(hit.passage)) for hit in hits]
            scores = self.load().predict(pairs, batch_size=self._batch_size, show_progress_bar=False)
        rescored = [replace(hit, score=float(score)) for hit, score in zip(hits, scores, strict=True)]
        return sorted(rescored, key=lambda hit: -hit.score)[:k]


def _load(name: str, device: str | None) -> Any:
    from lorag.pipeline.engine.quiet import quiet_libraries

    folder = resolve_model(name)
    try:
        with quiet_libraries():
            from sentence_transformers import CrossEncoder

            model = CrossEncoder(str(folder), device=device)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise BaseError(f"reranker {name}: sentence-transformers cannot load it ({reason}); name a cross-encoder") from error
    outputs = model.num_labels
    if outputs != 1:
        raise BaseError(f"reranker {name}: gives {outputs} scores a pair; name a cross-encoder with one")
    if hasattr(model.tokenizer, "split_special_tokens"):
        model.tokenizer.split_special_tokens = True
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and not 0 < (model.max_seq_length or 0) <= positions:  # a tokenizer that knows no limit cuts nothing
        model.max_seq_length = positions - RESERVED
    model.eval()
    return model
