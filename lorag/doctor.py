"""The findings of `lorag doctor`: processor, memory, libraries, offline models, and the project in the folder."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Role

if TYPE_CHECKING:
    from lorag.pipeline.config import Settings

STACK = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "trl",
    "sentence-transformers",
    "qdrant-edge-py",
    "qdrant-client",
    "langchain-core",
)
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Machine:
    """`threads` is what the probe chose, `compute` the dtype that quantized weights compute in, memory in bytes.

    `models` maps each offline model to its place. `problems` are lines on what is missing and how to get it.
    """

    processor: str
    flags: tuple[str, ...]
    cores: int
    threads: int
    threads_by: str
    compute: str
    gpu: str
    memory: int
    python: str
    versions: Mapping[str, str]
    models: Mapping[str, str]
    cache: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProjectState:
    """`index` and `adapters` are texts for people. `problems` are the faults that would stop a question, `notes` tell what
    will work badly."""

    folder: str
    documents: str
    index: str
    adapters: Mapping[str, str]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def examine_machine() -> Machine:
    """Loads torch, and measures for a second how many threads are fastest."""
    import torch

    from lorag.pipeline.engine.bases import SMOLLM2, cache_folder, smollm2_gguf
    from lorag.pipeline.engine.processor import compute_dtype, detect, probe_threads
    from lorag.pipeline.retrieval.sentence_encoder import MINILM, resolve_model

    processor = detect()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    models: dict[str, str] = {}
    problems: list[str] = []
    for name, find in ((SMOLLM2, smollm2_gguf), (MINILM, lambda: resolve_model(MINILM))):
        try:
            models[name] = str(find())
        except LoragError as error:
            models[name] = "missing"
            problems.append(str(error))
    versions = {name: version for name in ("lorag", *STACK) if (version := _version(name))}  # a checkout has no version of lorag
    problems += [f"{name} is not installed; reinstall LoRAG" for name in STACK if name not in versions]
    return Machine(
        processor=processor.name,
        flags=processor.flags,
        cores=processor.cores,
        threads=probe_threads(),
        threads_by="OMP_NUM_THREADS" if os.environ.get("OMP_NUM_THREADS", "").isdigit() else "measured",
        compute="bfloat16" if gpu else compute_dtype(processor),
        gpu=gpu,
        memory=memory_bytes(),
        python=platform.python_version(),
        versions=versions,
        models=models,
        cache=str(cache_folder()),
        problems=tuple(problems),
    )


def memory_bytes(limit_file: Path = CGROUP_LIMIT) -> int:
    """Memory that this process may use: the machine's, or a container's limit if that is lower."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = limit_file.read_text(encoding="ascii").strip()
    except OSError:
        return whole
    return min(whole, int(limit)) if limit.isdigit() else whole


def examine_project(project: Path) -> ProjectState | None:
    """The project in `project`. None if there is no settings file. A fault becomes a problem, not an error."""
    from lorag.pipeline.config import FILE_NAME, load_settings

    if not (project / FILE_NAME).is_file():
        return None
    try:
        settings = load_settings(project)
    except LoragError as error:
        return ProjectState(str(project), "unknown", "unknown", {}, (str(error),))
    from lorag.assembly import chosen_version

    problems: list[str] = []
    if not settings.documents.is_dir():
        problems.append(f"{settings.documents}: not a folder; set `documents` in {project / FILE_NAME}")
    index, notes = "none", tuple[str, ...]()
    try:
        index, notes = _index_state(project, settings)
    except LoragError as error:
        problems.append(str(error))
    adapters: dict[str, str] = {}
    for role in (role for role in Role if role is not Role.QUESTIONER):
        try:
            version = chosen_version(settings, role)
        except LoragError as error:
            problems.append(str(error))
        else:
            adapters[role.value] = version.id if version else "none"
    return ProjectState(str(project), str(settings.documents), index, adapters, tuple(problems), notes)


def _index_state(project: Path, settings: Settings) -> tuple[str, tuple[str, ...]]:
    """The index in one line, from the service if one has it open; else also what will not work in its languages."""
    from lorag.serving_lock import is_served

    if is_served(project):
        from lorag.served_project import served_project

        if (served := served_project(project, settings)) is not None:
            with served:
                return f"{served.load().index_line()}, in `lorag serve` at {served.address.url}", ()
    from lorag.assembly import open_index, unproven_embedder
    from lorag.language_advice import index_advice

    with closing(open_index(settings, unproven_embedder(settings))) as opened:
        info, notes = opened.info(), index_advice(opened, settings)
    return f"{info.passages} passages in {info.location}, filled by {info.encoder.describe()}", notes


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
