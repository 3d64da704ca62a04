"""Routes of documents: list them, add files in the background, delete uploads. Each key sees its tenant's documents alone."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import contextmanager_in_threadpool
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from lorag.pipeline.retrieval.index import IndexedFile
from lorag.services.api.access import State
from lorag.services.api.background import Jobs, Order, new_id
from lorag.services.api.errors import ApiError, log_error
from lorag.services.api.jobs import IngestCaller, JobsDependency, JobView
from lorag.services.api.keys import Caller
from lorag.services.api.library import INGEST, Library, open_library
from lorag.services.api.state import Lane, ServiceState
from lorag.services.api.uploads import MAX_FILES, receive, safe_name
from lorag.services.api.work import run

router = APIRouter(prefix="/v1/documents", tags=["documents"])

FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "maxItems": MAX_FILES,
                            "description": "Files, each a part named `file`. One of a name that is there already replaces it.",
                        }
                    },
                }
            }
        },
    }
}


class DocumentView(BaseModel):
    """A file in the index. `documents` counts the rows of a .jsonl. A file that was not `uploaded` is in the project's documents
    folder, and `source` is its path there."""

    source: str
    title: str
    documents: int
    passages: int
    uploaded: bool

    @classmethod
    def of(cls, file: IndexedFile) -> DocumentView:
        return cls(source=file.name, title=file.title, documents=file.documents, passages=file.passages, uploaded=file.uploaded)


class DocumentList(BaseModel):
    """A page of the tenant's files, by source; `total` of them in all."""

    documents: list[DocumentView]
    total: int


class Accepted(BaseModel):
    job: JobView


class Deleted(BaseModel):
    source: str
    deleted: bool


def library_of(state: State) -> Library:
    """The project's uploads; a FastAPI dependency."""
    return open_library(state.project.folder, lambda: state.runtime.index)


LibraryDependency = Annotated[Library, Depends(library_of)]


@router.get("", summary="What questions are answered from")
async def list_documents(
    request: Request,
    caller: IngestCaller,
    state: State,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DocumentList:
    index = state.runtime.index.for_tenant(caller.tenant)
    files = await run(request, index.files, Lane.ENCODER)
    page = files[offset : offset + limit]
    return DocumentList(documents=[DocumentView.of(file) for file in page], total=len(files))


@router.post("", status_code=202, summary="Add files, in the background", openapi_extra=FORM)
async def add_documents(
    request: Request, caller: IngestCaller, state: State, jobs: JobsDependency, library: LibraryDependency
) -> Accepted:
    """`GET /v1/jobs/{id}` shows the job's progress. Until it is done, answers use the documents from before."""
    await run_in_threadpool(jobs.require_room, caller.tenant, INGEST)
    id = new_id()
    try:
        async with contextmanager_in_threadpool(library.incoming(id)) as folder:
            names = await receive(request, folder, limit=state.limits.max_upload)
        job = await run_in_threadpool(jobs.add, Order(INGEST, caller.tenant, names), id=id)
    except OSError as error:
        await run_in_threadpool(library.discard, id)
        log_error(error)
        raise ApiError(507, "the service's disk is full or refuses to be written", code="disk_refused") from None
    except ApiError:
        await run_in_threadpool(library.discard, id)
        raise
    return Accepted(job=JobView.of(job))


@router.delete("/{source:path}", summary="Delete an uploaded file")
async def delete_document(
    request: Request, source: str, caller: IngestCaller, state: State, jobs: JobsDependency, library: LibraryDependency
) -> Deleted:
    """`source` is a name from the list. A file of the project's documents folder must be deleted there (409)."""
    return await run(request, lambda: _delete(source, caller, state, jobs, library), Lane.ENCODER)


def _delete(source: str, caller: Caller, state: ServiceState, jobs: Jobs, library: Library) -> Deleted:
    if _is_safe(source) and jobs.unless_busy(caller.tenant, source, lambda: library.delete(caller.tenant, source)):
        return Deleted(source=source, deleted=True)
    if any(file.name == source for file in state.runtime.index.for_tenant(caller.tenant).files()):
        message = "this file lies in the project's documents folder: delete it there and run `lorag ingest`"
        raise ApiError(409, message, param="source", code="not_uploaded")
    raise ApiError(404, "there is no such document", param="source")


def _is_safe(source: str) -> bool:
    try:
        return safe_name(source) == source
    except ApiError:
        return False
