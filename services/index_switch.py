"""After a change of the embedder's adapter: the index that belongs to it, put back where it is still there.

A rollback of the embedder without its index would leave questions and passages embedded by two encoders; that is refused
when a question is asked, and mended here before. Loads no model: encoders are compared by identity.
"""

from __future__ import annotations

from contextlib import closing

from pipeline.assembly import chosen_version, open_index, open_registry, open_store
from pipeline.config import Settings
from pipeline.records import Role
from pipeline.retrieval.embedder import SentenceTransformerEmbedder


def follow_embedder(settings: Settings) -> str:
    """Bring the index to the encoder that the settings name now, and say in one line what that took; '' without an index.

    Raises StoreError, BaseError, AdapterError.
    """
    store = open_store(settings)
    with closing(store):
        if settings.store.collection not in store.aliases():
            return ""
    embedder = _bare_identity(settings)
    with closing(open_index(settings, embedder)) as index:
        wanted = embedder.identity
        info = index.info()
        if wanted.can_search(info.encoder):
            return "The index fits it as it is."
        if info.previous:
            restored = index.rollback()
            if wanted.can_search(index.info().encoder):
                return f"The index is back at collection {restored}, which it filled."
            index.rollback()
    return "The index was filled by another encoder: run `lorag ingest --rebuild` before you ask."


def _bare_identity(settings: Settings) -> SentenceTransformerEmbedder:
    """The embedder that the settings name, for its identity alone: not proven, so not for use on texts."""
    version = chosen_version(settings, Role.EMBEDDER)
    if version is None:
        return SentenceTransformerEmbedder(settings.embedder.model)
    card = open_registry(settings).show(Role.EMBEDDER, version.id)
    side = card.identity.query_side_only
    return SentenceTransformerEmbedder(settings.embedder.model, adapter=version.folder, query_side_only=side)
