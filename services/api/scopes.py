"""What an API key may do. Apart, because `lorag --help` shows it and nothing else of the service."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """None includes another."""

    ASK = "ask"
    INGEST = "ingest"
    ADMIN = "admin"
