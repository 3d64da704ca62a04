"""Routes of documents: list them, add files in the background, delete what was uploaded. All of the key's tenant alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from services.api.access import State
from services.api.background import Order, new_id
from services.api.errors import ApiError, note
from services.api.jobs import Ingests, JobView, TheJobs
from services.api.library import INGEST, Library, open_library
from services.api.uploads import MAX_FILES, receive, safe_name

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
    """A file that questions are answered from. `documents` counts the rows of a .jsonl; one that was not `uploaded` lies in the
    project's documents folder."""

    source: str
    title: str
    documents: int
    passages: int
    uploaded: bool


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
    return open_library(state.project, lambda: state.runtime.index)


TheLibrary = Annotated[Library, Depends(library_of)]


@router.get("", summary="What questions are answered from")
def list_documents(
    caller: Ingests,
    state: State,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DocumentList:
    files = state.runtime.index.for_tenant(caller.tenant).files()
    page = [DocumentView(**asdict(file) | {"source": state.shown(file.source)}) for file in files[offset : offset + limit]]
    return DocumentList(documents=page, total=len(files))


@router.post("", status_code=202, summary="Add files, in the background", openapi_extra=FORM)
async def add_documents(request: Request, caller: Ingests, state: State, jobs: TheJobs, library: TheLibrary) -> Accepted:
    """The job says how far it is: `GET /v1/jobs/{id}`. Until it is done, answers rest on what was there before."""
    jobs.require_room(caller.tenant)
    id = new_id()
    try:
        with library.incoming(id) as folder:
            names = await receive(request, folder, limit=state.limits.max_upload)
        job = await run_in_threadpool(jobs.add, Order(INGEST, caller.tenant, names), id=id)
    except OSError as error:
        library.discard(id)
        note(error)
        raise ApiError(507, "the service's disk is full or refuses to be written", code="disk_refused") from None
    except ApiError:
        library.discard(id)
        raise
    return Accepted(job=JobView.of(job))


@router.delete("/{source:path}", summary="Delete an uploaded file")
def delete_document(source: str, caller: Ingests, state: State, jobs: TheJobs, library: TheLibrary) -> Deleted:
    """`source` is as the list names it. A file of the project's documents folder is deleted there, not here (409)."""
    if _is_safe(source) and jobs.unless_busy(caller.tenant, source, lambda: library.delete(caller.tenant, source)):
        return Deleted(source=source, deleted=True)
    if any(state.shown(file.source) == source for file in state.runtime.index.for_tenant(caller.tenant).files()):
        message = "this file lies in the project's documents folder: delete it there and run `lorag ingest`"
        raise ApiError(409, message, param="source", code="not_uploaded")
    raise ApiError(404, "there is no such document", param="source")


def _is_safe(source: str) -> bool:
    try:
        return safe_name(source) == source
    except ApiError:
        return False
