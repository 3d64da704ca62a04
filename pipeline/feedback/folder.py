"""Feedback on disk: one file for each answer, which later feedback on the same answer replaces.

    PROJECT/feedback/TENANT/ID.json      TENANT is `_project` for the project's own
    PROJECT/feedback/TENANT/splits.json  the split of each conversation that rows were made of

A file is written aside, synced and renamed, so a kill or a full disk leaves the old feedback or the new. Writers of several
processes wait for each other. A file that cannot be read is named and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.errors import FeedbackError, FileError, InputError
from lorag.pipeline.feedback.records import FORMAT, ID, Feedback
from lorag.pipeline.retrieval.partition import OWN_FOLDER, check_tenant, tenant_folder
from lorag.pipeline.storage.atomic import OWNER_ONLY, clear_aside_files, make_folder, sync, write_file
from lorag.pipeline.storage.locks import locked
from lorag.pipeline.storage.strict_json import build, dump_json, load_json

HOME = Path("feedback")
_SPLITS = "splits.json"
MOST = 10_000
"""Answers of one tenant with feedback."""
MOST_BYTES = 128 << 20
"""Bytes of one tenant's feedback."""
FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredFeedback:
    """What a tenant's folder holds, oldest first, and a line for each file that cannot be read."""

    entries: tuple[Feedback, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Splits:
    conversations: Mapping[str, str]


class FeedbackFolder:
    """The feedback of a project. Safe for several threads and processes."""

    def __init__(self, project: Path, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self.home = project / HOME
        self._most, self._most_bytes = most, most_bytes

    def put(self, feedback: Feedback) -> None:
        """Store feedback, durably. It replaces earlier feedback on the same answer. Raises FeedbackError."""
        path = self._file(feedback.trace.tenant, feedback.trace.id)
        text = dump_json(feedback, path.name)
        try:
            make_folder(path.parent)
            with locked(path.parent):
                clear_aside_files(path.parent)
                self._require_room(path, len(text.encode()))
                write_file(path, text, mode=OWNER_ONLY)
        except OSError as error:
            raise FeedbackError(f"{path.parent}: feedback cannot be stored ({error.strerror}); nothing was changed") from error

    def get(self, tenant: str, id: str) -> Feedback | None:
        """The tenant's feedback on the answer `id`, None if there is none. Raises FileError for a damaged file."""
        path = self._file(tenant, id)
        return _read(path) if path.exists() else None

    def remove(self, tenant: str, id: str) -> bool:
        """Delete the tenant's feedback on the answer `id`; False if there is none. Raises FeedbackError if the disk refuses."""
        path = self._file(tenant, id)
        if not path.exists():
            return False
        try:
            with locked(path.parent):
                path.unlink(missing_ok=True)
                sync(path.parent)
        except OSError as error:
            raise FeedbackError(f"{path}: cannot be deleted ({error.strerror})") from error
        return True

    def read(self, tenant: str = "") -> StoredFeedback:
        """All feedback of one tenant."""
        entries: list[Feedback] = []
        problems: list[str] = []
        for path in self._files(self._folder(tenant)):
            try:
                entries.append(_read(path))
            except FileError as error:
                problems.append(str(error))
        entries.sort(key=lambda each: (each.given, each.trace.id))
        return StoredFeedback(tuple(entries), tuple(problems))

    def counts(self) -> dict[str, int]:
        """The number of answers with feedback by tenant, of the tenants that have any."""
        found = {}
        for folder in sorted(self.home.glob("*/")):
            if number := sum(1 for _ in self._files(folder)):
                found["" if folder.name == OWN_FOLDER else folder.name] = number
        return found

    def splits(self, tenant: str) -> dict[str, str]:
        """The split of each conversation that rows were made of before, by its id. Raises FileError for a damaged file."""
        path = self._folder(tenant) / _SPLITS
        return dict(build(_Splits, load_json(path, limit=MOST_BYTES), str(path)).conversations) if path.exists() else {}

    def keep_splits(self, tenant: str, splits: Mapping[str, str]) -> None:
        """Add to the splits of conversations, durably. Raises FileError, FeedbackError if the disk refuses."""
        path = self._folder(tenant) / _SPLITS
        try:
            with locked(path.parent):
                held = _Splits({**self.splits(tenant), **splits})
                write_file(path, dump_json(held, path.name), mode=OWNER_ONLY)
        except OSError as error:
            raise FeedbackError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error

    def _require_room(self, path: Path, size: int) -> None:
        others = [other for other in self._files(path.parent) if other != path]
        used = sum(other.stat().st_size for other in others)
        if len(others) >= self._most or used + size > self._most_bytes:
            raise FeedbackError(
                f"{path.parent}: holds {len(others)} answers with feedback, {used >> 20} MiB, which is the most that is kept; "
                "export it and move old files out of the folder"
            )

    def _file(self, tenant: str, id: str) -> Path:
        if not ID.fullmatch(id):
            raise InputError("this is no id of an answer; send the `id` of the chat completion")
        return self._folder(tenant) / f"{id}.json"

    def _folder(self, tenant: str) -> Path:
        return self.home / tenant_folder(check_tenant(tenant))

    @staticmethod
    def _files(folder: Path) -> Iterator[Path]:
        return (path for path in sorted(folder.glob("*.json")) if ID.fullmatch(path.stem))


def _read(path: Path) -> Feedback:
    found = build(Feedback, load_json(path, limit=FILE_BYTES), str(path))
    if found.format != FORMAT:
        raise FileError(f"{path}: its format is {found.format}, this LoRAG reads {FORMAT}")
    if found.trace.id != path.stem:
        raise FileError(f"{path}: holds feedback on {found.trace.id}")
    return found
