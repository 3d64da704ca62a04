"""The owner of an index: the id of a project, kept in its folder and written to the collections that it fills.

    PROJECT/.lorag/project.id      32 hex digits

The id is made when the project first fills a collection: at its first ingest, or at an evaluation before that. Two projects may
use one Qdrant server. Without an owner, one would delete the other's passages as documents that are gone from its own folder. A
copy of a project folder has the id of the original.
"""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.errors import ConfigError
from lorag.pipeline.storage.atomic import make_folder, write_file
from lorag.pipeline.storage.locks import locked

FILE = Path(".lorag/project.id")
log = logging.getLogger("lorag")
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class ProjectId:
    """The id of the project in a folder. Safe for several processes at once."""

    project: Path

    @property
    def file(self) -> Path:
        return self.project / FILE

    def current_id(self) -> str:
        """'' if there is none yet. Raises ConfigError if the file holds something else."""
        try:
            text = self.file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.file}: cannot be read ({error}); it holds the id of this project") from error
        if not _ID.fullmatch(text):
            raise ConfigError(f"{self.file}: holds {text[:40]!r}, not 32 hex digits; delete it, or put the project's id back")
        return text

    def ensure_id(self) -> str:
        """The id, made and written now if there is none. Raises ConfigError if it cannot be written."""
        if found := self.current_id():
            return found
        try:
            make_folder(self.file.parent)
            with locked(self.file.parent):
                if not self.current_id():
                    write_file(self.file, f"{secrets.token_hex(16)}\n")
        except OSError as error:
            raise ConfigError(f"{self.file}: cannot be written ({error.strerror}); an index needs its project's id") from error
        return self.current_id()

    def on_adopted(self, collection: str) -> None:
        log.warning("collection %s had no owner; it belongs to the project %s from now on", collection, self.project)
