"""After a change of the embedder's adapter: the index that belongs to it, if it is still there.

The registry's change of aliases is the whole step: an index is searched in the collection that its encoder can search, whatever
the collection's name says. Here the name follows, and people are told. Loads no model: encoders are compared by identity.
"""

from __future__ import annotations

from dataclasses import dataclass

from lorag.assembly import chosen_version, open_index, open_registry, open_store
from lorag.pipeline.config import Settings
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.embedder import SentenceTransformerEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.store import VectorStore


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether the index can be searched by an encoder, and one line on what that took or needs."""

    fits: bool
    words: str


def follow_embedder(settings: Settings, store: VectorStore | None = None) -> str:
    """Bring the index to the encoder that the settings name now, and say in one line what that took; '' without an index.

    `store` is the project's, if it is open already; it stays open. Raises StoreError, BaseError, AdapterError.
    """
    opened = store or open_store(settings)
    try:
        if settings.store.collection not in opened.aliases():
            return ""
        return fit_index(open_index(settings, named_encoder(settings), opened)).words
    finally:
        if store is None:
            opened.close()


def fit_index(index: Index) -> Fit:
    """Give the name to the collection that the index's encoder can search: the present one, or the one before the last rebuild.

    If neither is, the index stays as it was. Raises StoreError.
    """
    if collection := index.settle():
        return Fit(True, f"The index is back at collection {collection}, which it filled.")
    index.info()
    if index.fits():
        return Fit(True, "The index fits it as it is.")
    return Fit(False, "The index was filled by another encoder: run `lorag ingest --rebuild` before you ask.")


def named_encoder(settings: Settings) -> SentenceTransformerEmbedder:
    """The embedder that the settings name, for its identity alone: not proven, so not for use on texts."""
    version = chosen_version(settings, Role.EMBEDDER)
    if version is None:
        return SentenceTransformerEmbedder(settings.embedder.model)
    card = open_registry(settings).show(Role.EMBEDDER, version.id)
    side = card.identity.query_side_only
    return SentenceTransformerEmbedder(settings.embedder.model, adapter=version.folder, query_side_only=side)
