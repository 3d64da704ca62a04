"""The protocol of vector stores: records, filters and the operations that `EdgeStore` and `ClientStore` share.

A collection holds points with one dense unit vector, one sparse BM25 vector and a payload. Knows nothing of documents,
passages or text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Protocol

from lorag.pipeline.errors import InputError

DENSE = "dense"
SPARSE = "bm25"


class Missing(Enum):
    """As the value of a filter: the payload has no such key."""

    MISSING = "missing"


MISSING = Missing.MISSING
FilterValue = str | int | bool
Filter = Mapping[str, FilterValue | Sequence[FilterValue] | Missing]
"""Payload key → value, or several values of which one must match, or `MISSING`; all keys must match. Nested keys:
`metadata.folder`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PLAIN_KEY = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class FieldKind(StrEnum):
    """The type of a payload field that filters use."""

    KEYWORD = "keyword"
    INTEGER = "integer"
    BOOL = "bool"
    TENANT = "tenant"
    """A keyword that partitions the collection: the engine stores the points of each value together."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse vector: `values[i]` at dimension `indices[i]`, no dimension twice."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """`id` is a UUID in text form; `dense` has the collection's dimension and length 1."""

    id: str
    dense: Sequence[float]
    sparse: Sparse
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A stored point, with the requested payload keys."""

    id: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A search result. `score` is the cosine for a dense search and the fused score for a hybrid one."""

    id: str
    score: float
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Search:
    """`sparse` makes the search hybrid: both rankings are fused as `fusion.fuse` does, words with `words_share`."""

    dense: Sequence[float]
    sparse: Sparse | None = None
    words_share: float = 0.5

    @property
    def words(self) -> Sparse | None:
        """The sparse vector, if it has any entry."""
        return self.sparse if self.sparse is not None and self.sparse.indices else None


class VectorStore(Protocol):
    """Every operation raises StoreError if the engine refuses or cannot be reached, and InputError for a bad filter.

    Writes are visible to the next read. They survive a kill of the process, and after `flush` a power cut.
    """

    @property
    def location(self) -> str:
        """Folder or URL, for messages; no secrets."""
        ...

    def create(self, name: str, dimension: int, metadata: Mapping[str, Any], fields: Mapping[str, FieldKind]) -> None:
        """Make an empty collection with its metadata and payload indexes: all of it or nothing."""
        ...

    def exists(self, name: str) -> bool: ...

    def names(self) -> tuple[str, ...]:
        """All collections, sorted."""
        ...

    def drop(self, name: str) -> None:
        """Remove a collection if there is one."""
        ...

    def upsert(self, name: str, points: Sequence[Point]) -> None: ...

    def delete(self, name: str, ids: Sequence[str]) -> None: ...

    def set_payload(self, name: str, ids: Sequence[str], payload: Mapping[str, Any]) -> None:
        """Replace the values of the given top-level payload keys in these points; vectors and other keys stay."""
        ...

    def count(self, name: str, filter: Filter | None = None) -> int: ...

    def scroll(self, name: str, *, keys: Sequence[str] | None = None, filter: Filter | None = None) -> Iterator[StoredPoint]:
        """All points, or those that match, in id order; `keys` limits the payload read (None: all of it)."""
        ...

    def search(self, name: str, searches: Sequence[Search], k: int, *, filter: Filter | None = None) -> list[list[Found]]:
        """At most `k` points for each search, best first."""
        ...

    def metadata(self, name: str) -> Mapping[str, Any]: ...

    def set_metadata(self, name: str, metadata: Mapping[str, Any]) -> None:
        """Replace the values of the given top-level keys, durably and atomically."""
        ...

    def add_fields(self, name: str, fields: Mapping[str, FieldKind]) -> None:
        """Index payload fields for filters, unless they are indexed already."""
        ...

    def aliases(self) -> Mapping[str, str]:
        """Alias → collection."""
        ...

    def set_aliases(self, changes: Mapping[str, str | None]) -> None:
        """Point aliases at collections (None removes one), all changes in one atomic step."""
        ...

    def flush(self, name: str) -> None:
        """Return once everything written is on disk."""
        ...

    def optimise(self, name: str) -> None:
        """Merge and index segments now, if the engine does not do so by itself."""
        ...

    def hold(self, name: str) -> None:
        """Keep other processes out until `close`, and tell them that `name` has it open. Raises StoreError if one has."""
        ...

    def release(self) -> None:
        """Let other processes open it until the next operation here, unless it is held or another thread uses it now."""
        ...

    def close(self) -> None:
        """Flush and close; the store cannot be used after."""
        ...


def json_path(*keys: str) -> str:
    """Keys of nested payload objects in the engine's notation: `metadata.folder`, `metadata."two words"`.

    Raises:
        InputError: a key that is empty or holds a quote.
    """
    for key in keys:
        if not key or '"' in key:
            raise InputError(f"payload key {key!r}: must not be empty or hold quotes")
    return ".".join(key if _PLAIN_KEY.fullmatch(key) else f'"{key}"' for key in keys)


def check_name(name: str) -> None:
    """Raises InputError for a collection name that an engine or file system may refuse."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"collection name {name!r}: use letters, digits, `-`, `_` and `.` only, at most 128, a letter or digit first"
        )


def filter_values(filter: Filter) -> dict[str, tuple[FilterValue, ...]]:
    """The filter in one form: key → values of one type, of which one must match; empty if the key must be missing.

    Raises:
        InputError: a key that is no text, no value, values of several types, or a type that cannot be matched exactly.
    """
    if not isinstance(filter, Mapping):
        raise InputError(f'filter {filter!r}: must be a mapping such as {{"folder": "policies"}}')
    checked: dict[str, tuple[FilterValue, ...]] = {}
    for key, value in filter.items():
        if not isinstance(key, str) or not key.strip():
            raise InputError(f"filter key {key!r}: must be the name of a payload field")
        if isinstance(value, Missing):
            checked[key] = ()
            continue
        values = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
        kinds = {type(item) for item in values}
        if len(kinds) != 1 or not kinds <= {str, int, bool}:
            raise InputError(f"filter {key!r}: {value!r} must be a text, a whole number or true/false, or a list of one of these")
        checked[key] = values
    return checked
