"""Settings meet an adapter that was made elsewhere: what `lorag adapters import` does. Knows no terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.records import Role

if TYPE_CHECKING:
    from pipeline.adapters.registry import Registry, Version
    from pipeline.config import Settings
    from training.importing import Claims


def bring_in(settings: Settings, registry: Registry, role: Role, folder: Path, data: Path, claims: Claims) -> Version:
    """Publish the adapter in `folder` as candidate, proven on held-out rows of the data folder `data`. Raises LoragError."""
    from pipeline.engine.weights import Precision
    from training.dataset import DataFolder
    from training.importing import Runtime, import_adapter
    from training.recipe import load_recipe
    from training.run import Job

    base = settings.base
    job = Job(
        role=role,
        data=DataFolder(data, settings.judge.intents),
        recipe=load_recipe(role),
        base=base.model,
        embedder=settings.embedder.model,
        registry=registry,
        run_folder=folder,
        k=settings.retrieval.k,
        resume=False,
        on_progress=None,
        on_notice=None,
        beginning=None,
    )
    return import_adapter(folder, job, claims, Runtime(Precision(base.precision), base.compute, base.device))
