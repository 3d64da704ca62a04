"""Uploaded documents: their files on disk, and their way into the index and out of it.

    PROJECT/.lorag/uploads/TENANT/NAME        files in the index; TENANT is `_project` for the project's own
    PROJECT/.lorag/uploads/.incoming/JOB/NAME  files of an unfinished job
    PROJECT/.lorag/uploads/.collection.json    for each tenant, the collection that holds all of its uploads

A file moves from the second place to the first when the index holds all of it. After a kill the job is still on disk and
continues, so the index ends with the old version or the new one. A file is deleted before its passages, and a recheck removes
passages that a kill left.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lorag.corpus import UPLOADS_FOLDER
from lorag.pipeline.errors import InputError, NothingIngested
from lorag.pipeline.records import Document
from lorag.pipeline.retrieval.account import printable
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import IngestReport
from lorag.pipeline.retrieval.loading import load_file, read_file
from lorag.pipeline.retrieval.partition import OWN_FOLDER, tenant_folder
from lorag.pipeline.storage.atomic import OWNER_ONLY, make_folder, new_folder, sync, write_file
from lorag.services.api.background import Job, Jobs, Order, Progress, TenantFile

JOBS_FOLDER = Path(".lorag/jobs")
INGEST, RECHECK = "ingest", "recheck"
_INCOMING = ".incoming"
_SEEN = ".collection.json"


class Library:
    """The uploads in `folder`. `index` returns the index in use at that moment. Implements `Work` for `Jobs`."""

    def __init__(self, folder: Path, index: Callable[[], Index]) -> None:
        self._folder, self._index = folder, index

    @contextmanager
    def incoming(self, job: str) -> Iterator[Path]:
        """Within: an empty folder. At the end its files belong to the job `job`. After an error the folder is removed."""
        with new_folder(self._incoming(job)) as folder:
            yield folder

    def discard(self, job: str) -> None:
        """Remove the incoming files of a job that was not made, or has ended."""
        shutil.rmtree(self._incoming(job), ignore_errors=True)

    def sweep(self, unfinished: Collection[str]) -> None:
        """Remove the incoming files without an unfinished job, which a kill during an upload or at a job's end leaves."""
        for folder in (self._folder / _INCOMING).glob("*"):
            if folder.name not in unfinished:
                shutil.rmtree(folder, ignore_errors=True)

    def needed(self, busy: Collection[TenantFile]) -> list[Order]:
        """Rechecks for uploads that the index lacks, and for deleted ones that it still holds. If another collection is in use
        now, for all uploads of a tenant."""
        orders = []
        for folder in sorted(path for path in self._folder.glob("*") if path.is_dir() and path.name[0] != "."):
            tenant = "" if folder.name == OWN_FOLDER else folder.name
            to_read, to_remove = self._differences(tenant)
            if files := to_read | {name for name in to_remove if (tenant, name) not in busy}:
                orders.append(Order(RECHECK, tenant, tuple(sorted(files))))
        return orders

    def run(self, job: Job, progress: Progress) -> tuple[str, str | None]:
        """Ingest the job's files one by one. A file that cannot be used does not stop the next.

        A recheck reads the files that differ when it runs. If the collection changes meanwhile, one more recheck is queued.
        """
        if job.kind == INGEST:
            return self._read(job.tenant, job.files, self._incoming(job.id), progress)
        collection = self._collection()
        to_read, to_remove = self._differences(job.tenant)
        for name in to_remove:
            self._index().for_tenant(job.tenant).remove(name)
        to_read |= self._names(job.tenant) & set(job.files)
        outcome = self._read(job.tenant, sorted(to_read), self._home(job.tenant), progress)
        self._remember(job.tenant, collection or self._collection())
        return outcome

    def _read(self, tenant: str, files: Sequence[str], source: Path, progress: Progress) -> tuple[str, str | None]:
        errors: list[str] = []
        remarks: list[str] = []
        written = 0
        for number, name in enumerate(files, start=1):
            path = source / name
            if not path.is_file():
                continue  # done before the service was stopped last, or deleted
            file_progress = _FileProgress(progress, written, name if len(files) == 1 else f"{name} ({number} of {len(files)})")
            try:
                remarks += self._ingest(path, tenant, file_progress)
            except InputError as error:
                kept = "; its old version stays searchable" if (self._home(tenant) / name).is_file() else ""
                errors.append(str(error).replace(str(path), name) + kept)
            else:
                written = file_progress.done
        message = f"{len(files) - len(errors)} of {len(files)} files read, {written} passages written"
        return "; ".join((message, *remarks)), "; ".join(errors) or None

    def _ingest(self, path: Path, tenant: str, on_written: _FileProgress) -> tuple[str, ...]:
        """Write one file to the index and move it to its tenant's folder. At the end the collection in use holds it.

        Returns lines on what was not read of it, or how.
        """
        home, name = self._home(tenant), path.name
        content = read_file(path, path.parent)
        in_part = bool(content.missing)
        report = self._put(tenant, name, content.documents, on_written, in_part)
        if path.parent == home and not path.is_file():  # deleted meanwhile
            self._index().for_tenant(tenant).remove(name)
            return ()
        if path.parent != home:
            self._publish(path, home)
        while (current := self._collection()) != report.collection:  # it changed, and the new one may lack this file
            report = self._put(tenant, name, content.documents, on_written, in_part)
        if not self._seen(tenant):
            self._remember(tenant, current)
        cut = (note for file in report.files for note in file.notes)
        return tuple(f"{name}: {printable(note)}" for note in (*content.missing, *content.notes, *cut))

    def _put(
        self,
        tenant: str,
        name: str,
        documents: Sequence[Document],
        on_written: _FileProgress | None = None,
        in_part: bool = False,
    ) -> IngestReport:
        """Write a file's documents. `_index` is called each time, because the encoder may change."""
        return self._index().for_tenant(tenant).put(name, documents, in_part=in_part, on_written=on_written)

    def give_up(self, job: Job) -> None:
        """Restore the index's earlier version of the files that the job did not finish. Raises StoreError."""
        incoming, home = self._incoming(job.id), self._home(job.tenant)
        for name in job.files if incoming.is_dir() else ():
            if not (incoming / name).is_file():
                continue
            try:
                self._put(job.tenant, name, load_file(home / name, home))
            except InputError:  # there was none, or it is no longer one that is read
                self._index().for_tenant(job.tenant).remove(name)

    def finish(self, job: Job) -> None:
        self.discard(job.id)

    def delete(self, tenant: str, name: str) -> bool:
        """Delete an uploaded file. False if there is none. No job on it may run. Raises StoreError, OSError.

        `name` must be a result of `safe_name`.
        """
        path = self._home(tenant) / name
        exists = path.is_file()
        if exists:
            path.unlink()
            sync(path.parent)
        return bool(self._index().for_tenant(tenant).remove(name)) or exists

    def _differences(self, tenant: str) -> tuple[set[str], set[str]]:
        """Names of files to read and of files to remove, so that the index matches the tenant's folder."""
        names = self._names(tenant)
        indexed = {file.source for file in self._index().for_tenant(tenant).files() if file.uploaded}
        moved = self._collection() != self._seen(tenant)
        return names if moved else names - indexed, indexed - names

    def _names(self, tenant: str) -> set[str]:
        home = self._home(tenant)
        return {path.name for path in home.iterdir() if path.is_file()} if home.is_dir() else set()

    def _publish(self, path: Path, home: Path) -> None:
        make_folder(home)
        path.rename(home / path.name)
        sync(home)
        sync(path.parent)

    def _home(self, tenant: str) -> Path:
        return self._folder / tenant_folder(tenant)

    def _incoming(self, job: str) -> Path:
        return self._folder / _INCOMING / job

    def _collection(self) -> str:
        try:
            return self._index().info().collection
        except NothingIngested:
            return ""

    def _seen(self, tenant: str) -> str:
        """The collection that the tenant's uploads were last written to. Empty if it is not known."""
        return self._all_seen().get(tenant, "")

    def _all_seen(self) -> dict[str, str]:
        try:
            return dict(json.loads((self._folder / _SEEN).read_bytes())["tenants"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _remember(self, tenant: str, collection: str) -> None:
        seen = {"tenants": {**self._all_seen(), tenant: collection}}
        write_file(self._folder / _SEEN, json.dumps(seen, indent=1), mode=OWNER_ONLY)


class _FileProgress:
    """Reports the progress of one file as that of its job, which has written `before` passages already."""

    def __init__(self, progress: Progress, before: int, where: str) -> None:
        self._progress, self._before, self._where = progress, before, where
        self.done = before
        progress(before, before, where)

    def __call__(self, done: int, total: int) -> None:
        self.done = self._before + done
        self._progress(self.done, self._before + total, self._where)


def open_library(project: Path, index: Callable[[], Index]) -> Library:
    """The project's uploads. It holds no state in memory."""
    return Library(project / UPLOADS_FOLDER, index)


def open_jobs(project: Path, index: Callable[[], Index]) -> Jobs:
    """The project's jobs, not yet started."""
    return Jobs(project / JOBS_FOLDER, open_library(project, index))
