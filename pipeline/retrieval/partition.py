"""Whose a passage is and how it came in. Every point of a collection belongs to one partition; a search sees one tenant's.

The project's own documents carry neither mark, so that a collection filled before there were tenants is all theirs.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval.store import MISSING, FieldKind, Filter

TENANT, ORIGIN = "tenant", "origin"
UPLOAD = "upload"
UPLOADS = "uploads"
"""The folder under which ids of uploaded documents stand: `uploads/keys.md`."""
PARTITION_FIELDS: Mapping[str, FieldKind] = MappingProxyType({TENANT: FieldKind.TENANT, ORIGIN: FieldKind.KEYWORD})

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAMESPACE = uuid.UUID("6b6f5f0e-5c1d-5a52-9a0b-6c6f72616701")


def check_tenant(tenant: str) -> str:
    """`tenant` itself. Raises InputError unless it is empty (the project's own) or a name that is safe as a folder's."""
    if tenant and not _TENANT.fullmatch(tenant):
        raise InputError(f"tenant {tenant!r}: use lower-case letters, digits, - and _, at most 63, a letter or digit first")
    return tenant


def tenant_filter(tenant: str) -> Filter:
    """What a point's payload shows if it is the tenant's."""
    return {TENANT: tenant or MISSING}


@dataclass(frozen=True, slots=True)
class Partition:
    """`uploaded` documents come and go one by one; the others are brought to the state of a folder, all together."""

    tenant: str = ""
    uploaded: bool = False

    def marks(self) -> dict[str, str]:
        """What the payload of a point here holds beside its passage."""
        marks = {TENANT: self.tenant, ORIGIN: UPLOAD if self.uploaded else ""}
        return {key: value for key, value in marks.items() if value}

    def filter(self) -> Filter:
        return {**tenant_filter(self.tenant), ORIGIN: UPLOAD if self.uploaded else MISSING}

    def point_id(self, passage_id: str) -> str:
        """A UUID derived from the passage's id and the partition, so that writing the same passage again replaces it and no
        tenant can replace another's. No file name, with which a passage id begins, holds the NUL that parts them."""
        marks = self.marks()
        name = "\0".join((self.tenant, marks.get(ORIGIN, ""), passage_id)) if marks else passage_id
        return str(uuid.uuid5(_NAMESPACE, name))


def file_name(document_id: str, source: str) -> str:
    """The file that a document came from, as people are told it: an upload's name, or a place in the documents folder.

    `source` is the path that it was read at, which depends on where the project lay then, and the row's `#id` is no part of it.
    """
    if document_id == f"{UPLOADS}/{source}" or document_id.startswith(f"{UPLOADS}/{source}#"):
        return source
    ends = [at for at, letter in enumerate(document_id) if letter == "#"]
    names = (document_id[:at] for at in (*ends, len(document_id)))
    return next((name for name in names if f"/{source}".endswith(f"/{name}")), document_id)


def partition_of(payload: Mapping[str, Any]) -> Partition:
    """The partition that a point belongs to."""
    return Partition(str(payload.get(TENANT) or ""), payload.get(ORIGIN) == UPLOAD)
