"""The scopes of an API key. A module of its own, because `lorag --help` needs nothing else of the service."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """The scopes are independent: none includes another."""

    ASK = "ask"
    INGEST = "ingest"
    ADMIN = "admin"
