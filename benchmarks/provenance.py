"""Provenance of a stored result: the commit, the digests of its data, the libraries and the machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lorag.pipeline.engine.processor import detect
from lorag.pipeline.storage.atomic import write_file
from lorag.pipeline.storage.digests import file_digest

LIBRARIES = ("torch", "transformers", "peft", "sentence-transformers")


def provenance(files: Iterable[Path]) -> dict[str, Any]:
    """`commit` ends in `+` if the working tree differs from it; `data` is file name → SHA-256."""
    processor = detect()
    return {
        "commit": commit(),
        "data": {path.name: file_digest(path) for path in files},
        "libraries": {name: version(name) for name in LIBRARIES},
        "machine": f"{processor.cores} cores of {processor.name}",
    }


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result atomically: an interrupt leaves the old file or the new one."""
    write_file(path, json.dumps(content, indent=1) + "\n")


def stored(path: Path) -> dict[str, Any] | None:
    """A result that `save` wrote, or None if there is none yet."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def commit() -> str:
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    return (git("rev-parse", "HEAD") or "unknown") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
