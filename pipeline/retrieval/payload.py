"""Passage ⇄ point payload, so that a search result needs no file. Knows nothing of engines or vectors."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pipeline.records import Passage, Segment
from pipeline.retrieval.store import FieldKind, Filter, json_path

_NAMESPACE = uuid.UUID("6b6f5f0e-5c1d-5a52-9a0b-6c6f72616701")
_TOP = ("document_id", "source", "title", "section")
FIELDS: Mapping[str, FieldKind] = MappingProxyType({"document_id": FieldKind.KEYWORD})
"""Payload fields that every collection indexes."""


def point_id(passage_id: str) -> str:
    """A UUID derived from the passage's id, so that writing the same passage again replaces it."""
    return str(uuid.uuid5(_NAMESPACE, passage_id))


def to_payload(passage: Passage) -> dict[str, Any]:
    return {
        "passage_id": passage.id,
        "document_id": passage.document_id,
        "source": passage.source,
        "title": passage.title,
        "section": passage.section,
        "text": passage.text,
        "start": passage.start,
        "end": passage.end,
        "metadata": dict(passage.metadata),
        "segments": [[segment.offset, segment.source_start, segment.length] for segment in passage.segments],
    }


def from_payload(payload: Mapping[str, Any]) -> Passage:
    return Passage(
        id=payload["passage_id"],
        document_id=payload["document_id"],
        source=payload["source"],
        title=payload["title"],
        section=payload["section"],
        text=payload["text"],
        start=payload["start"],
        end=payload["end"],
        metadata=MappingProxyType(dict(payload["metadata"])),
        segments=tuple(Segment(*numbers) for numbers in payload["segments"]),
    )


def payload_filter(filter: Filter | None) -> Filter | None:
    """A filter by `document_id`, `source`, `title`, `section` or a metadata key, as the payload spells them.

    Raises:
        InputError: a key that the engine's path notation cannot hold.
    """
    if not isinstance(filter, Mapping):
        return filter
    return {key if key in _TOP else json_path("metadata", key): value for key, value in filter.items()}


def metadata_fields(records: Iterable[Mapping[str, Any]]) -> dict[str, FieldKind]:
    """The metadata keys a filter can match exactly, by payload path; a key takes the kind of its first value."""
    kinds = {str: FieldKind.KEYWORD, int: FieldKind.INTEGER, bool: FieldKind.BOOL}
    fields: dict[str, FieldKind] = {}
    for record in records:
        for key, value in record.items():
            sample = value[0] if isinstance(value, list) and value else value
            if type(sample) in kinds and key and '"' not in key:
                fields.setdefault(json_path("metadata", key), kinds[type(sample)])
    return fields
