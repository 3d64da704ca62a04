"""Background jobs on documents, with their progress and result. One worker runs one job at a time.

    PROJECT/.lorag/jobs/ID.json     one job, replaced in one rename at every change of its state

Tenants are served round-robin, and the jobs of one run in order. A job that a kill or a store failure interrupted is tried
again, and fails after `MAX_STARTS` starts. Knows no documents: a `Work` runs the jobs.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

from lorag.pipeline.adapters.card import now_utc
from lorag.pipeline.errors import FileError, StoreError
from lorag.pipeline.storage.atomic import OWNER_ONLY, clear_aside_files, write_file
from lorag.pipeline.storage.strict_json import build, dump_json
from lorag.services.api.errors import ApiError, api_error, log_error

MAX_STARTS = 3
PAUSE = 15.0
"""Seconds before the jobs of a tenant run again after the store failed in one."""
MAX_WAITING = 100
"""Unfinished jobs of one tenant and kind. The next is refused."""
KEEP_FINISHED = 100
"""Finished jobs of one tenant that are kept."""

T = TypeVar("T")

log = logging.getLogger("lorag.service")


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """A job on `files`. `done` of `total` counts passages, and `total` grows as files are read. `error` says which files failed
    and why; the others succeeded. A queued job with an `error` is tried again."""

    id: str
    kind: str
    tenant: str
    files: tuple[str, ...]
    created: str
    state: JobState = JobState.QUEUED
    starts: int = 0
    done: int = 0
    total: int = 0
    message: str = ""
    error: str | None = None

    @property
    def finished(self) -> bool:
        return self.state in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class Order:
    """A job to be made."""

    kind: str
    tenant: str
    files: tuple[str, ...]


TenantFile = tuple[str, str]
"""A tenant and the name of a file."""


class Stopped(Exception):
    """The service is stopping. The rest of the job is done after the next start."""


Progress = Callable[[int, int, str], None]
"""Called with passages done, their total and a message. Raises Stopped if the service is stopping."""


class Work(Protocol):
    """Runs jobs. Every call is idempotent: it may be repeated after a kill."""

    def sweep(self, unfinished: Collection[str]) -> None:
        """Called first: remove files that belong to no unfinished job."""
        ...

    def needed(self, busy: Collection[TenantFile]) -> list[Order]:
        """Jobs that are needed because files or index changed, without the `busy` files.

        Such a job checks its work when it runs, so one queued job per tenant is enough.
        """
        ...

    def run(self, job: Job, progress: Progress) -> tuple[str, str | None]:
        """Run the job; return its message and, if files failed, the error. Raises Stopped, and StoreError if a retry may help."""
        ...

    def give_up(self, job: Job) -> None:
        """Undo the partial work of a job that will not be retried. Raises StoreError if the undo must be retried."""
        ...

    def finish(self, job: Job) -> None:
        """Called when the end of a job is on disk: its files are no longer needed."""
        ...


class Jobs:
    """The jobs in `folder`, run by `work` in one thread between `start` and `close`. Safe for several threads."""

    def __init__(self, folder: Path, work: Work) -> None:
        self._folder, self._work = folder, work
        self._jobs: dict[str, Job] = {}
        self._locked_files: set[TenantFile] = set()
        self._last_run: dict[str, float] = {}
        self._paused_until: dict[str, float] = {}
        self._changed = threading.Condition(threading.RLock())
        self._stopping = self._running = self._paused = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read the jobs of an earlier run and start the worker. Raises OSError."""
        clear_aside_files(self._folder)
        for path in sorted(self._folder.glob("*.json")):
            if (job := _read(path)) is not None:
                self._jobs[job.id] = job
        self._work.sweep({job.id for job in self._jobs.values() if not job.finished})
        self._thread = threading.Thread(target=self._serve, name="lorag-jobs", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 30.0) -> None:
        """Stop after the current batch of passages, at most `timeout` seconds later. Unfinished jobs wait for the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def add(self, order: Order, *, id: str | None = None) -> Job:
        """Queue a job; it is on disk when this returns. Raises ApiError 429 if too many jobs of the tenant wait, and OSError."""
        with self._changed:
            self.require_room(order.tenant, order.kind)
            return self._add(order, id or new_id())

    def _add(self, order: Order, id: str) -> Job:
        job = Job(id, order.kind, order.tenant, order.files, now_utc())
        with self._changed:
            self._save(job)
            self._jobs[job.id] = job
            self._changed.notify_all()
        return job

    def require_room(self, tenant: str, kind: str) -> None:
        """Raises ApiError 429 if the tenant has too many unfinished jobs of this kind."""
        with self._changed:
            if sum((job.tenant, job.kind) == (tenant, kind) for job in self._unfinished()) >= MAX_WAITING:
                message = f"{MAX_WAITING} jobs are waiting already; try again when some are done"
                raise ApiError(429, message, code="too_many_jobs", retry_after=30)

    def check_uploads(self) -> None:
        """Queue the jobs that are needed now. An error is logged, and the next check or start repeats the work."""
        try:
            with self._changed:
                busy = self._locked_files | {(job.tenant, file) for job in self._unfinished() for file in job.files}
            for order in self._work.needed(busy):
                self._add_once(order)
        except Exception as failure:
            log_error(failure)

    def _add_once(self, order: Order) -> None:
        with self._changed:
            waiting = {(job.tenant, job.kind) for job in self._unfinished() if job.state is JobState.QUEUED}
            if (order.tenant, order.kind) not in waiting:
                self._add(order, new_id())

    def of(self, tenant: str) -> tuple[Job, ...]:
        """The tenant's jobs, newest first."""
        with self._changed:
            return tuple(job for job in reversed(self._jobs.values()) if job.tenant == tenant)

    def get(self, tenant: str, id: str) -> Job | None:
        """None if there is none, or if it is another tenant's."""
        with self._changed:
            job = self._jobs.get(id)
        return job if job is not None and job.tenant == tenant else None

    def unless_busy(self, tenant: str, file: str, action: Callable[[], T]) -> T:
        """Run `action` while no job on `file` can begin, and return its value.

        Raises ApiError 409 if a job or another action on the file is not finished.
        """
        key = (tenant, file)
        with self._changed:
            job = next((job.id for job in self._unfinished() if job.tenant == tenant and file in job.files), None)
            if job is not None or key in self._locked_files:
                why = f"is being read in by job {job}" if job else "is being deleted"
                raise ApiError(409, f"{file} {why}; try again when that is done", code="busy", retry_after=2)
            self._locked_files.add(key)
        try:
            return action()
        finally:
            with self._changed:
                self._locked_files.remove(key)
                self._changed.notify_all()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within: no job runs, and nobody else is within. Waits for the end of a job that runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._paused)
            self._paused = True  # now, so that no next job begins
            self._changed.wait_for(lambda: not self._running)
        try:
            yield
        finally:
            with self._changed:
                self._paused = False
                self._changed.notify_all()

    def _unfinished(self) -> Iterator[Job]:
        return (job for job in self._jobs.values() if not job.finished)

    def _serve(self) -> None:
        self.check_uploads()
        while (job := self._next()) is not None:
            self._run(job)
            with self._changed:
                self._running = False
                self._changed.notify_all()

    def _next(self) -> Job | None:
        """The first job of the tenant whose last job is the longest ago. None at the end."""
        with self._changed:
            while not self._stopping:
                first: dict[str, Job] = {}
                for job in self._unfinished():
                    first.setdefault(job.tenant, job)
                now = time.monotonic()
                pauses = {tenant: until - now for tenant, until in self._paused_until.items() if tenant in first and until > now}
                ready = [job for tenant, job in first.items() if tenant not in pauses and not self._is_blocked(job)]
                if ready and not self._paused:
                    self._running = True
                    job = min(ready, key=lambda job: self._last_run.get(job.tenant, 0.0))
                    self._last_run[job.tenant] = now
                    return job
                self._changed.wait(min(pauses.values(), default=None))
        return None

    def _is_blocked(self, job: Job) -> bool:
        return any((job.tenant, file) in self._locked_files for file in job.files)

    def _run(self, job: Job) -> None:
        if job.starts >= MAX_STARTS:
            self._give_up(job, job.error or f"was cut short {job.starts} times; send fewer or smaller files")
            return
        begun = replace(job, state=JobState.RUNNING, starts=job.starts + 1, error=None)
        self._keep(begun)
        try:
            message, error = self._work.run(job, lambda *step: self._progress(job.id, *step))
        except Stopped:
            self._keep(replace(job, state=JobState.QUEUED))
        except Exception as failure:  # an error of a job must not end the worker
            if self._stopping:  # index and encoder may be closed already, which is no fault of the job
                self._keep(replace(job, state=JobState.QUEUED))
            elif isinstance(failure, StoreError) and begun.starts < MAX_STARTS:
                self._retry_later(begun, failure)
            else:
                self._give_up(begun, _message(failure))
        else:
            self._end(job, message, error)

    def _give_up(self, job: Job, error: str) -> None:
        try:
            self._work.give_up(job)
        except StoreError as failure:
            self._retry_later(replace(job, starts=MAX_STARTS, error=error), failure)
            return
        except Exception as failure:
            log_error(failure)
        self._end(job, "", error)

    def _retry_later(self, job: Job, failure: StoreError) -> None:
        """Queue the job again after a pause: an accepted job is not lost while the store is unavailable."""
        log_error(failure)
        with self._changed:
            self._paused_until[job.tenant] = time.monotonic() + PAUSE
            self._keep(replace(job, state=JobState.QUEUED, error=job.error or _message(failure)))

    def _end(self, job: Job, message: str, error: str | None) -> None:
        state = JobState.FAILED if error else JobState.DONE
        ended = replace(self._jobs[job.id], state=state, message=message, error=error)
        self._try_to_save(ended)
        self._work.finish(job)
        with self._changed:
            self._jobs[job.id] = ended
            finished = [other for other in self.of(job.tenant)[::-1] if other.finished]
            for old in finished[: max(0, len(finished) - KEEP_FINISHED)]:
                (self._folder / f"{old.id}.json").unlink(missing_ok=True)
                del self._jobs[old.id]

    def _progress(self, id: str, done: int, total: int, message: str) -> None:
        with self._changed:
            if self._stopping:
                raise Stopped
            self._jobs[id] = replace(self._jobs[id], done=done, total=total, message=message)

    def _keep(self, job: Job) -> None:
        with self._changed:
            self._jobs[job.id] = job
        self._try_to_save(job)

    def _try_to_save(self, job: Job) -> None:
        """A full disk must not end the worker. The next start repeats the job."""
        try:
            self._save(job)
        except OSError as failure:
            log_error(failure)

    def _save(self, job: Job) -> None:
        write_file(self._folder / f"{job.id}.json", dump_json(job, "job"), mode=OWNER_ONLY)


def new_id() -> str:
    """32 hex digits; ids sort by the time they were made."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


def _read(path: Path) -> Job | None:
    """None, with a line in the log, for a file that is no job: it must not keep the service from starting."""
    try:
        return build(Job, json.loads(path.read_bytes()), path.name)
    except (OSError, ValueError, FileError) as failure:
        log.error("job file %s is not readable and left alone: %s", path.name, failure)
        return None


def _message(failure: Exception) -> str:
    if isinstance(failure, OSError) and failure.strerror:
        log_error(failure)
        return f"the disk refused: {failure.strerror}"
    return api_error(failure).message
