"""A passage's tenant and origin. Every point of a collection belongs to one partition; a search sees one tenant's.

The project's own documents have neither field, so a collection filled before there were tenants needs no change.
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
OWN_FOLDER = "_project"
UPLOADS = "uploads"
"""Prefix of the ids of uploaded documents, as in `uploads/keys.md`."""
PARTITION_FIELDS: Mapping[str, FieldKind] = MappingProxyType({TENANT: FieldKind.TENANT, ORIGIN: FieldKind.KEYWORD})

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAMESPACE = uuid.UUID("6b6f5f0e-5c1d-5a52-9a0b-6c6f72616701")


def check_tenant(tenant: str) -> str:
    """`tenant` itself. Raises InputError unless it is empty (the project's own) or a safe folder name."""
    if tenant and not _TENANT.fullmatch(tenant):
        raise InputError(f"tenant {tenant!r}: use lower-case letters, digits, - and _, at most 63, a letter or digit first")
    return tenant


def tenant_folder(tenant: str) -> str:
    """The name of a tenant's folder; no tenant has the name that stands for the project's own."""
    return tenant or OWN_FOLDER


def tenant_filter(tenant: str) -> Filter:
    """A filter for the tenant's points."""
    return {TENANT: tenant or MISSING}


@dataclass(frozen=True, slots=True)
class Partition:
    """`uploaded` documents are added and removed one by one; the others are updated together from a folder."""

    tenant: str = ""
    uploaded: bool = False

    def marks(self) -> dict[str, str]:
        """The payload fields that mark a point of this partition."""
        marks = {TENANT: self.tenant, ORIGIN: UPLOAD if self.uploaded else ""}
        return {key: value for key, value in marks.items() if value}

    def filter(self) -> Filter:
        return {**tenant_filter(self.tenant), ORIGIN: UPLOAD if self.uploaded else MISSING}

    def point_id(self, passage_id: str) -> str:
        """A UUID derived from the passage's id and the partition: writing the same passage again replaces it, and no tenant can
        replace another's. File names, with which passage ids begin, contain no NUL, so the separator is unambiguous."""
        marks = self.marks()
        name = "\0".join((self.tenant, marks.get(ORIGIN, ""), passage_id)) if marks else passage_id
        return str(uuid.uuid5(_NAMESPACE, name))


def file_name(document_id: str, source: str) -> str:
    """The file of a document, for messages: an upload's name, or a path in the documents folder.

    `source` is the path that it was read from, which depends on the project's place at that time. It does not include a row's
    `#id`.
    """
    if document_id == f"{UPLOADS}/{source}" or document_id.startswith(f"{UPLOADS}/{source}#"):
        return source
    ends = [at for at, letter in enumerate(document_id) if letter == "#"]
    names = (document_id[:at] for at in (*ends, len(document_id)))
    return next((name for name in names if f"/{source}".endswith(f"/{name}")), document_id)


def partition_of(payload: Mapping[str, Any]) -> Partition:
    """The partition that a point belongs to."""
    return Partition(str(payload.get(TENANT) or ""), payload.get(ORIGIN) == UPLOAD)
