"""What a stored result names so that it can be made again: the commit, the digests of its data, the libraries and the machine."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lorag.pipeline.engine.processor import detect

LIBRARIES = ("torch", "transformers", "peft", "sentence-transformers")


def provenance(files: Iterable[Path]) -> dict[str, Any]:
    """`commit` ends in `+` where the working tree differs from it; `data` is file name → SHA-256."""
    processor = detect()
    return {
        "commit": commit(),
        "data": {path.name: digest(path) for path in files},
        "libraries": {name: version(name) for name in LIBRARIES},
        "machine": f"{processor.cores} cores of {processor.name}",
    }


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result that is taken up again: a stop leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


def commit() -> str:
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    return (git("rev-parse", "HEAD") or "unknown") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
