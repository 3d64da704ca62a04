"""Passage ⇄ point payload, which holds the whole passage. Knows nothing of engines or vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from lorag.pipeline.records import PageStart, Passage, Segment
from lorag.pipeline.retrieval.partition import PARTITION_FIELDS, tenant_filter
from lorag.pipeline.retrieval.store import FieldKind, Filter, filter_values, json_path

_TOP = ("document_id", "source", "title", "section")
FIELDS: Mapping[str, FieldKind] = MappingProxyType({"document_id": FieldKind.KEYWORD, **PARTITION_FIELDS})
"""Payload fields that every collection indexes."""
FILE_FIELDS: Mapping[str, FieldKind] = MappingProxyType(
    {json_path("metadata", key): FieldKind.KEYWORD for key in ("format", "folder")}
)
"""Metadata fields that every document has."""


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
        "pages": [[page.number, page.offset] for page in passage.pages],
        **({"header": passage.header} if passage.header else {}),
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
        pages=tuple(PageStart(*numbers) for numbers in payload.get("pages", ())),  # points of before have none
        header=payload.get("header", ""),
    )


def payload_filter(tenant: str, filter: Filter | None) -> Filter:
    """A filter on payload fields, from one on `document_id`, `source`, `title`, `section` or metadata keys, and on the tenant.

    No key of `filter` can address the tenant field: all but these four are metadata keys.

    Raises:
        InputError: a malformed filter, or a key that the engine's path notation cannot express.
    """
    wanted = {} if filter is None else filter
    filter_values(wanted)
    named = {key if key in _TOP else json_path("metadata", key): value for key, value in wanted.items()}
    return {**named, **tenant_filter(tenant)}


def metadata_fields(records: Iterable[Mapping[str, Any]]) -> dict[str, FieldKind]:
    """The metadata keys that a filter can match exactly, by payload path; a key has the kind of its first value."""
    kinds = {str: FieldKind.KEYWORD, int: FieldKind.INTEGER, bool: FieldKind.BOOL}
    fields: dict[str, FieldKind] = {}
    for record in records:
        for key, value in record.items():
            sample = value[0] if isinstance(value, list) and value else value
            if type(sample) in kinds and key and '"' not in key:
                fields.setdefault(json_path("metadata", key), kinds[type(sample)])
    return fields
