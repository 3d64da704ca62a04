"""Imports an adapter that another tool made, as `lorag adapters import` does. Knows no terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lorag.pipeline.records import Role

if TYPE_CHECKING:
    from lorag.pipeline.adapters.registry import Registry, Version
    from lorag.pipeline.config import Settings
    from lorag.training.importing import Claims


def import_version(settings: Settings, registry: Registry, role: Role, folder: Path, data: Path, claims: Claims) -> Version:
    """Check the adapter in `folder` on held-out rows of the data folder `data` and publish it. Raises LoragError."""
    from lorag.assembly import serving_retrieval
    from lorag.pipeline.engine.weights import Precision
    from lorag.training.contrastive import Encoder
    from lorag.training.dataset import DataFolder
    from lorag.training.importing import Runtime, import_adapter
    from lorag.training.recipe import load_recipe
    from lorag.training.run import TrainingRun

    base = settings.base
    job = TrainingRun(
        role=role,
        data=DataFolder(data, settings.judge.intents),
        recipe=load_recipe(role),
        base=base.model,
        base_device=base.device,
        encoder=Encoder(settings.embedder.model, settings.embedder.device),
        registry=registry,
        run_folder=folder,
        retrieval=serving_retrieval(settings),
        resume=False,
        on_progress=None,
        on_notice=None,
        continuation=None,
    )
    return import_adapter(folder, job, claims, Runtime(Precision(base.precision), base.compute, base.device))
