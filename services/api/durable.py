"""Small files that a kill cannot leave half written, and that only their owner may read."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.staging import make_folder, sync_folder

OWNER_ONLY = 0o600
_ASIDE = ".aside-"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Put `content` at `path` in one rename, its folder made where it is missing. Raises OSError."""
    make_folder(path.parent)
    aside = path.with_name(f"{_ASIDE}{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, ensure_ascii=False, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def clear_asides(folder: Path) -> None:
    """Remove what a killed writer left in `folder`. Only where no other writer can be at work."""
    for path in folder.glob(f"{_ASIDE}*"):
        path.unlink(missing_ok=True)
