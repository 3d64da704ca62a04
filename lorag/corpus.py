"""The passages of a project as its documents are now, cut as an ingest cuts them.

Needs no index, and of the encoder only its tokenizer.

So it works while `lorag serve` has the project's index open. Knows where uploaded files lie:

    PROJECT/.lorag/uploads/TENANT/NAME     TENANT is `_project` for the project's own
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lorag.assembly import open_chunking
from lorag.pipeline.config import Settings
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Document, Passage
from lorag.pipeline.retrieval.ingest import no_documents
from lorag.pipeline.retrieval.loading import load_folder, load_one
from lorag.pipeline.retrieval.partition import UPLOADS, check_tenant, tenant_folder

UPLOADS_FOLDER = Path(".lorag/uploads")


def current_passages(settings: Settings, project: Path, tenant: str = "") -> tuple[Passage, ...]:
    """The passages that an ingest of the documents folder, for the project's own, and of the tenant's uploads gives now.

    Files that cannot be read are left out; an ingest names them. Raises InputError if there is no document at all.
    """
    uploads = list(_uploads(project / UPLOADS_FOLDER / tenant_folder(check_tenant(tenant))))
    own: tuple[Document, ...] = ()
    if not tenant and (settings.documents.is_dir() or not uploads):
        loaded = load_folder(settings.documents)
        own = loaded.documents
        if not own and not uploads:
            raise no_documents(settings.documents, loaded)
    if not own and not uploads:
        raise InputError(f"the tenant {tenant} has no documents; upload some with one of its keys")
    chunking = open_chunking(settings)
    return tuple(passage for document in (*own, *uploads) for passage in chunking.cut(document))


def _uploads(folder: Path) -> Iterator[Document]:
    for path in sorted(folder.glob("*")):
        found = load_one(path, folder).documents if path.is_file() else ()
        yield from (replace(document, id=f"{UPLOADS}/{document.id}", source=path.name) for document in found)
