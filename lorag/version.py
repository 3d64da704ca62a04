"""The version of LoRAG."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def lorag_version() -> str:
    """The installed version. `checkout` if the code runs without being installed."""
    try:
        return version("lorag")
    except PackageNotFoundError:
        return "checkout"
