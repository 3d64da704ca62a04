"""Background work on documents: what was asked for, how far it is, how it ended. One worker, one job at a time.

    PROJECT/.lorag/jobs/ID.json     one job, replaced in one rename at every change of its state

Tenants take turns; the jobs of one are done in their order. A job that a kill or the store's failure cut short goes on later;
one that was begun `MAX_STARTS` times and never ended fails. Knows no documents: `Work` does what a job asks for.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

from lorag.pipeline.adapters.card import now_utc
from lorag.pipeline.errors import FileError, StoreError
from lorag.pipeline.storage.atomic import OWNER_ONLY, clear_aside_files, write_file
from lorag.pipeline.storage.strict_json import build, dump_json
from lorag.services.api.errors import ApiError, api_error, note

MAX_STARTS = 3
PAUSE = 15.0
"""Seconds in which the jobs of a tenant rest after the store failed in one."""
MAX_WAITING = 100
"""Jobs of one tenant and kind that are not finished; the next is turned away."""
KEEP_FINISHED = 100
"""Finished jobs of one tenant that are remembered."""

T = TypeVar("T")

log = logging.getLogger("lorag.service")


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """`files` are what it is about; `done` of `total` counts passages, and `total` grows as files are read. `error` says what
    went wrong with which file; the others went well. One that is queued with an `error` is tried again."""

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
    """What a job is to do."""

    kind: str
    tenant: str
    files: tuple[str, ...]


Named = tuple[str, str]
"""A tenant and the name of a file."""


class Stopped(Exception):
    """The service ends; what is left of the job is done when it starts again."""


Progress = Callable[[int, int, str], None]
"""Told (passages done, passages to do, message). Raises Stopped when the service ends."""


class Work(Protocol):
    """What jobs do. Every call may be repeated after a kill and ends as one whole call would."""

    def sweep(self, unfinished: Collection[str]) -> None:
        """Called before anything else: remove what belongs to no unfinished job."""
        ...

    def wanted(self, named: Collection[Named]) -> list[Order]:
        """Jobs that are needed because something changed while nobody looked, and not for files that are `named` elsewhere.

        Such a job finds out what is to be done when it runs, so one that waits does for another of its tenant.
        """
        ...

    def run(self, job: Job, progress: Progress) -> tuple[str, str | None]:
        """Do it; the message and, where something failed, the error. Raises Stopped; StoreError where a later try may do."""
        ...

    def give_up(self, job: Job) -> None:
        """Undo what a job left that will not be tried again. Raises StoreError where that must be tried again."""
        ...

    def finish(self, job: Job) -> None:
        """Called when the end of a job is on disk: it needs nothing any more."""
        ...


class Jobs:
    """The jobs in `folder`, done by `work` in a thread of its own between `start` and `close`. Safe for several threads."""

    def __init__(self, folder: Path, work: Work) -> None:
        self._folder, self._work = folder, work
        self._jobs: dict[str, Job] = {}
        self._taken: set[Named] = set()
        self._last_turn: dict[str, float] = {}
        self._rests_until: dict[str, float] = {}
        self._changed = threading.Condition(threading.RLock())
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read what an earlier run left and begin to work. Raises OSError."""
        clear_aside_files(self._folder)
        for path in sorted(self._folder.glob("*.json")):
            if (job := _read(path)) is not None:
                self._jobs[job.id] = job
        self._work.sweep({job.id for job in self._jobs.values() if not job.finished})
        self._thread = threading.Thread(target=self._serve, name="lorag-jobs", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 30.0) -> None:
        """Stop after the passages that are being written, at most `timeout` seconds later; what is left waits for a start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def add(self, order: Order, *, id: str | None = None) -> Job:
        """Queue a job; it is on disk when this returns. Raises ApiError 429 where the tenant has too many waiting; OSError."""
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
        """Raises ApiError 429 where the tenant has too many jobs of this kind that are not finished."""
        with self._changed:
            if sum((job.tenant, job.kind) == (tenant, kind) for job in self._unfinished()) >= MAX_WAITING:
                message = f"{MAX_WAITING} jobs are waiting already; try again when some are done"
                raise ApiError(429, message, code="too_many_jobs", retry_after=30)

    def look_again(self) -> None:
        """Queue what the work wants done now. What keeps it from that is logged; the next look or start makes up for it."""
        try:
            with self._changed:
                named = self._taken | {(job.tenant, file) for job in self._unfinished() for file in job.files}
            for order in self._work.wanted(named):
                self._add_once(order)
        except Exception as failure:
            note(failure)

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
        """None where there is none, and where it is another tenant's."""
        with self._changed:
            job = self._jobs.get(id)
        return job if job is not None and job.tenant == tenant else None

    def unless_busy(self, tenant: str, file: str, action: Callable[[], T]) -> T:
        """The value of `action`, done while no job on `file` begins. Raises ApiError 409 where one, or another action, is not
        finished."""
        named = (tenant, file)
        with self._changed:
            job = next((job.id for job in self._unfinished() if job.tenant == tenant and file in job.files), None)
            if job is not None or named in self._taken:
                why = f"is being read in by job {job}" if job else "is being deleted"
                raise ApiError(409, f"{file} {why}; try again when that is done", code="busy", retry_after=2)
            self._taken.add(named)
        try:
            return action()
        finally:
            with self._changed:
                self._taken.remove(named)
                self._changed.notify_all()

    def _unfinished(self) -> Iterator[Job]:
        return (job for job in self._jobs.values() if not job.finished)

    def _serve(self) -> None:
        self.look_again()
        while (job := self._next()) is not None:
            self._run(job)

    def _next(self) -> Job | None:
        """The first job of the tenant that has waited longest for its turn; None at the end."""
        with self._changed:
            while not self._stopping:
                first: dict[str, Job] = {}
                for job in self._unfinished():
                    first.setdefault(job.tenant, job)
                now = time.monotonic()
                rests = {tenant: until - now for tenant, until in self._rests_until.items() if tenant in first and until > now}
                ready = [job for tenant, job in first.items() if tenant not in rests and not self._is_held_up(job)]
                if ready:
                    job = min(ready, key=lambda job: self._last_turn.get(job.tenant, 0.0))
                    self._last_turn[job.tenant] = now
                    return job
                self._changed.wait(min(rests.values(), default=None))
        return None

    def _is_held_up(self, job: Job) -> bool:
        return any((job.tenant, file) in self._taken for file in job.files)

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
        except Exception as failure:  # the worker outlives whatever a job runs into
            if self._stopping:  # index and encoder may be closed already: no fault of the job's
                self._keep(replace(job, state=JobState.QUEUED))
            elif isinstance(failure, StoreError) and begun.starts < MAX_STARTS:
                self._rest(begun, failure)
            else:
                self._give_up(begun, _words(failure))
        else:
            self._end(job, message, error)

    def _give_up(self, job: Job, error: str) -> None:
        try:
            self._work.give_up(job)
        except StoreError as failure:
            self._rest(replace(job, starts=MAX_STARTS, error=error), failure)
            return
        except Exception as failure:
            note(failure)
        self._end(job, "", error)

    def _rest(self, job: Job, failure: StoreError) -> None:
        """Leave the job where it is, to be tried again after a pause: what was accepted is not lost while the store is away."""
        note(failure)
        with self._changed:
            self._rests_until[job.tenant] = time.monotonic() + PAUSE
            self._keep(replace(job, state=JobState.QUEUED, error=job.error or _words(failure)))

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
        """A disk that refuses must not end the worker; the next start does the job once more."""
        try:
            self._save(job)
        except OSError as failure:
            note(failure)

    def _save(self, job: Job) -> None:
        write_file(self._folder / f"{job.id}.json", dump_json(job, "job"), mode=OWNER_ONLY)


def new_id() -> str:
    """32 hex digits; ids sort by the time they were made."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


def _read(path: Path) -> Job | None:
    """None, which the log says, for a file that is no job: it must not keep the service from starting."""
    try:
        return build(Job, json.loads(path.read_bytes()), path.name)
    except (OSError, ValueError, FileError) as failure:
        log.error("job file %s is not readable and left alone: %s", path.name, failure)
        return None


def _words(failure: Exception) -> str:
    if isinstance(failure, OSError) and failure.strerror:
        note(failure)
        return f"the disk refused: {failure.strerror}"
    return api_error(failure).message
