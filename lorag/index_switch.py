"""After a change of the embedder's adapter: the index that belongs to it, put back where it is still there.

A rollback of the embedder without its index would leave questions and passages embedded by two encoders; that is refused
when a question is asked, and mended here before. Loads no model: encoders are compared by identity.
"""

from __future__ import annotations

from dataclasses import dataclass

from lorag.assembly import chosen_version, open_index, open_registry, open_store
from lorag.pipeline.config import Settings
from lorag.pipeline.errors import NothingIngested
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.embedder import SentenceTransformerEmbedder
from lorag.pipeline.retrieval.encoder_identity import EncoderIdentity
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
        embedder = _bare_identity(settings)
        return fit_index(open_index(settings, embedder, opened), embedder.identity).words
    finally:
        if store is None:
            opened.close()


def fit_index(index: Index, wanted: EncoderIdentity) -> Fit:
    """Bring `index` to the collection that `wanted` can search: the present one, or the one before the last rebuild.

    Where neither is, the index stays as it was. Raises StoreError.
    """
    info = index.info()
    if wanted.can_search(info.encoder):
        return Fit(True, "The index fits it as it is.")
    if info.previous and wanted.can_search(index.filled_by(info.previous)):
        return Fit(True, f"The index is back at collection {index.rollback()}, which it filled.")
    return Fit(False, "The index was filled by another encoder: run `lorag ingest --rebuild` before you ask.")


def fits(index: Index, wanted: EncoderIdentity) -> bool:
    """Whether `fit_index` would find a collection, or there is none at all yet. Changes nothing; raises StoreError."""
    try:
        info = index.info()
    except NothingIngested:
        return True
    return wanted.can_search(info.encoder) or bool(info.previous and wanted.can_search(index.filled_by(info.previous)))


def _bare_identity(settings: Settings) -> SentenceTransformerEmbedder:
    """The embedder that the settings name, for its identity alone: not proven, so not for use on texts."""
    version = chosen_version(settings, Role.EMBEDDER)
    if version is None:
        return SentenceTransformerEmbedder(settings.embedder.model)
    card = open_registry(settings).show(Role.EMBEDDER, version.id)
    side = card.identity.query_side_only
    return SentenceTransformerEmbedder(settings.embedder.model, adapter=version.folder, query_side_only=side)
