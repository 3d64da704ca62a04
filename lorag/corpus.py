"""The passages of a project as its documents are now, cut as an ingest cuts them.

Needs no index, and of the encoder only its tokenizer.

So it works while `lorag serve` has the project's index open. Knows where uploaded files lie:

    PROJECT/.lorag/uploads/TENANT/NAME     TENANT is `_project` for the project's own
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lorag.assembly import open_chunking
from lorag.pipeline.config import Settings
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Document, Passage
from lorag.pipeline.retrieval.account import FileAccount
from lorag.pipeline.retrieval.ingest import no_documents
from lorag.pipeline.retrieval.loading import LoadedFile, load_folder, load_one
from lorag.pipeline.retrieval.partition import UPLOADS, check_tenant, tenant_folder

UPLOADS_FOLDER = Path(".lorag/uploads")


def current_passages(
    settings: Settings, project: Path, tenant: str = "", on_files: Callable[[Sequence[FileAccount]], None] | None = None
) -> tuple[Passage, ...]:
    """The passages that an ingest of the documents folder, for the project's own, and of the tenant's uploads gives now.

    Files that cannot be read are left out. `on_files` gets the account of all files. Raises InputError if there is no document
    at all.
    """
    files = _uploads(project / UPLOADS_FOLDER / tenant_folder(check_tenant(tenant)))
    accounts = [file.account for file in files]
    uploads = [document for file in files for document in file.documents]
    own: tuple[Document, ...] = ()
    if not tenant and (settings.documents.is_dir() or not uploads):
        loaded = load_folder(settings.documents)
        own = loaded.documents
        accounts += loaded.accounts
        if not own and not uploads:
            raise no_documents(settings.documents, loaded)
    if not own and not uploads:
        raise InputError(f"the tenant {tenant} has no documents; upload some with one of its keys")
    if on_files is not None:
        on_files(accounts)
    chunking = open_chunking(settings)
    return tuple(passage for document in (*own, *uploads) for passage in chunking.cut(document))


def _uploads(folder: Path) -> list[LoadedFile]:
    found = [load_one(path, folder) for path in sorted(folder.glob("*")) if path.is_file()]
    return [replace(file, documents=tuple(map(_as_upload, file.documents))) for file in found]


def _as_upload(document: Document) -> Document:
    return replace(document, id=f"{UPLOADS}/{document.id}", source=Path(document.source).name)
