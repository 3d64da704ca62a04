"""Routes of jobs: the progress of background work on the tenant's documents."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi import Path as PathParameter
from pydantic import BaseModel

from lorag.services.api.access import State, needs
from lorag.services.api.background import Job, Jobs, JobState
from lorag.services.api.errors import ApiError
from lorag.services.api.keys import Caller, Scope
from lorag.services.api.state import starting

ID_PATTERN = r"^[0-9a-f]{32}$"

router = APIRouter(prefix="/v1/jobs", tags=["documents"])


class JobView(BaseModel):
    """A job as its tenant sees it. `done` of `total` counts passages. `error` says which files failed and why."""

    id: str
    kind: str
    state: JobState
    files: list[str]
    done: int
    total: int
    message: str
    error: str | None
    created: str

    @classmethod
    def of(cls, job: Job) -> JobView:
        return cls(**{name: getattr(job, name) for name in cls.model_fields})


class JobList(BaseModel):
    """Newest first."""

    jobs: list[JobView]


def jobs_of(state: State) -> Jobs:
    """The service's jobs; a FastAPI dependency. Raises ApiError 503 while it is still starting."""
    if state.jobs is None:
        raise starting()
    return state.jobs


JobsDependency = Annotated[Jobs, Depends(jobs_of)]
IngestCaller = Annotated[Caller, Depends(needs(Scope.INGEST))]


@router.get("", summary="Jobs of the key's tenant")
def list_jobs(caller: IngestCaller, jobs: JobsDependency, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> JobList:
    return JobList(jobs=[JobView.of(job) for job in jobs.of(caller.tenant)[:limit]])


@router.get("/{id}", summary="One job")
def get_job(caller: IngestCaller, jobs: JobsDependency, id: Annotated[str, PathParameter(pattern=ID_PATTERN)]) -> JobView:
    job = jobs.get(caller.tenant, id)
    if job is None:
        raise ApiError(404, f"there is no job {id}", param="id")
    return JobView.of(job)
