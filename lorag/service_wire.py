"""How a service and the commands that use it write records and errors: JSON, from the owner of a project to itself.

Every record is written by its fields, so that a response reads as the same record again. An error becomes one of the same class
with the same message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lorag.pipeline import errors
from lorag.pipeline.errors import LoragError, ServiceError
from lorag.pipeline.retrieval.account import FileAccount
from lorag.pipeline.retrieval.ingest import NoDocuments
from lorag.pipeline.storage.strict_json import build, plain

_ERROR = "lorag_error"
_BUG = "the service failed on this, which is a bug in LoRAG; its log says where, please report it"


def dump(event: Mapping[str, Any]) -> str:
    """One line of JSON; `event` may hold records and errors."""
    return json.dumps(plain(event), ensure_ascii=False, allow_nan=False, default=_error_json)


def load(text: str) -> dict[str, Any]:
    """What `dump` wrote, with errors as errors and records as plain values, for `build`. Raises ValueError."""
    read: dict[str, Any] = json.loads(text, object_hook=_revive)
    return read


def failure(error: BaseException) -> LoragError:
    """The error as it is sent. One that was not raised on purpose becomes a ServiceError without its words."""
    if isinstance(error, LoragError):
        return error
    if isinstance(error, OSError) and error.strerror:
        return ServiceError(f"the service's disk refused: {error.strerror}")
    return ServiceError(_BUG)


def _error_json(value: object) -> dict[str, Any]:
    if not isinstance(value, LoragError):
        raise TypeError(f"{type(value).__name__} is no JSON")
    files = {"files": [plain(each) for each in value.files]} if isinstance(value, NoDocuments) else {}
    return {_ERROR: type(value).__name__, "message": str(value), **files}


def _revive(data: dict[str, Any]) -> Any:
    name = data.get(_ERROR)
    if not isinstance(name, str):
        return data
    message = str(data.get("message", ""))
    if "files" in data:
        return NoDocuments(message, tuple(build(FileAccount, each, "files") for each in data["files"]))
    kind = getattr(errors, name, LoragError)
    return kind(message) if isinstance(kind, type) and issubclass(kind, LoragError) else LoragError(message)
