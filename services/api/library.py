"""Uploaded documents: their files on disk, and how they get into the index and out of it.

    PROJECT/.lorag/uploads/TENANT/NAME        what the index holds; `_project` stands for the project's own
    PROJECT/.lorag/uploads/.incoming/JOB/NAME  files of a job that is not finished
    PROJECT/.lorag/uploads/.collection.json    the collection that holds all of them

A file moves from the second place to the first once the index holds it whole, so after a kill the index has its old version
or its new one as soon as the job, which is still there, went on. A file is deleted before its passages are: nothing brings
them back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.adapters.staging import make_folder, sync_folder
from pipeline.errors import InputError, NothingIngested
from pipeline.retrieval.index import Index
from pipeline.retrieval.loading import load_file
from services.api.background import Job, Jobs, Order, Progress
from services.api.durable import write_json

JOBS_FOLDER, UPLOADS_FOLDER = Path(".lorag/jobs"), Path(".lorag/uploads")
INGEST, RECHECK = "ingest", "recheck"
_OWN = "_project"
_INCOMING = ".incoming"
_SEEN = ".collection.json"


class Library:
    """The uploads in `folder`, held by the index that `index` gives: the one in use at that moment. Is the `Work` of `Jobs`."""

    def __init__(self, folder: Path, index: Callable[[], Index]) -> None:
        self._folder, self._index = folder, index

    @contextmanager
    def incoming(self, job: str) -> Iterator[Path]:
        """Within: an empty folder. After, what it holds is the files of a job that can be made; after an error it is gone."""
        folder = self._incoming(f"{job}.part")
        make_folder(folder)
        try:
            yield folder
            folder.rename(self._incoming(job))
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def discard(self, job: str) -> None:
        """Remove the files that came in for a job that was not made, or has ended."""
        shutil.rmtree(self._incoming(job), ignore_errors=True)

    def sweep(self, unfinished: Collection[str]) -> None:
        """Remove files that came in for jobs that are not there: an upload cut short, or a job's end cut short."""
        for folder in (self._folder / _INCOMING).glob("*"):
            if folder.name not in unfinished:
                shutil.rmtree(folder, ignore_errors=True)

    def wanted(self) -> list[Order]:
        """Uploads that the index lacks; all of them where another collection took the place of the one that had them."""
        moved, orders = self._collection() != self._seen(), []
        for folder in sorted(path for path in self._folder.glob("*") if path.is_dir() and path.name[0] != "."):
            tenant = "" if folder.name == _OWN else folder.name
            names = {path.name for path in folder.iterdir() if path.is_file()}
            held = {file.source for file in self._index().for_tenant(tenant).files() if file.uploaded}
            if lacking := names if moved else names - held:
                orders.append(Order(RECHECK, tenant, tuple(sorted(lacking))))
        if not orders:
            self._remember()
        return orders

    def run(self, job: Job, progress: Progress) -> tuple[str, str | None]:
        """Bring the job's files into the index, one after the other. A file that cannot be used does not stop the next."""
        source = self._incoming(job.id) if job.kind == INGEST else self._home(job.tenant)
        index = self._index().for_tenant(job.tenant)
        errors: list[str] = []
        written = 0
        for number, name in enumerate(job.files, start=1):
            path = source / name
            if not path.is_file():
                continue  # done before the service was stopped last
            where = name if len(job.files) == 1 else f"{name} ({number} of {len(job.files)})"
            tell = _Tell(progress, written, where)
            try:
                index.put(name, load_file(path, source), on_written=tell)
            except InputError as error:
                errors.append(str(error).replace(str(path), name))
            except UnicodeError:
                errors.append(f"{name}: holds characters that are no text")
            else:
                written = tell.done
                if job.kind == INGEST:
                    self._publish(path, job.tenant)
        if job.kind == RECHECK or not self._seen():
            self._remember()
        read = len(job.files) - len(errors)
        return f"{read} of {len(job.files)} files read, {written} passages written", "; ".join(errors) or None

    def give_up(self, job: Job) -> None:
        """Bring back what the index held of the files that the job did not finish."""
        index, incoming, home = self._index().for_tenant(job.tenant), self._incoming(job.id), self._home(job.tenant)
        for name in job.files if incoming.is_dir() else ():
            if not (incoming / name).is_file():
                continue
            if (home / name).is_file():
                index.put(name, load_file(home / name, home))
            else:
                index.remove(name)

    def finish(self, job: Job) -> None:
        self.discard(job.id)

    def delete(self, tenant: str, name: str) -> bool:
        """Forget an uploaded file; False where there is none. Not while a job on it runs. Raises StoreError, OSError.

        `name` must have come through `safe_name`.
        """
        path = self._home(tenant) / name
        there = path.is_file()
        if there:
            path.unlink()
            sync_folder(path.parent)
        return bool(self._index().for_tenant(tenant).remove(name)) or there

    def _publish(self, path: Path, tenant: str) -> None:
        home = self._home(tenant)
        make_folder(home)
        path.rename(home / path.name)
        sync_folder(home)
        sync_folder(path.parent)

    def _home(self, tenant: str) -> Path:
        return self._folder / (tenant or _OWN)

    def _incoming(self, job: str) -> Path:
        return self._folder / _INCOMING / job

    def _collection(self) -> str:
        try:
            return self._index().info().collection
        except NothingIngested:
            return ""

    def _seen(self) -> str:
        try:
            return str(json.loads((self._folder / _SEEN).read_bytes())["collection"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _remember(self) -> None:
        write_json(self._folder / _SEEN, {"collection": self._collection()})


class _Tell:
    """Tells the progress of one file as that of its job, in which `before` passages were written already."""

    def __init__(self, progress: Progress, before: int, where: str) -> None:
        self._progress, self._before, self._where = progress, before, where
        self.done = before
        progress(before, before, where)

    def __call__(self, done: int, total: int) -> None:
        self.done = self._before + done
        self._progress(self.done, self._before + total, self._where)


def open_library(project: Path, index: Callable[[], Index]) -> Library:
    """The project's uploads. It keeps nothing in memory."""
    return Library(project / UPLOADS_FOLDER, index)


def open_jobs(project: Path, index: Callable[[], Index]) -> Jobs:
    """The project's jobs, not yet started."""
    return Jobs(project / JOBS_FOLDER, open_library(project, index))
