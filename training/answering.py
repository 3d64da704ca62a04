"""Generates with a model that is being trained, as it will when it serves, without an effect on the training.

Restores the mode, gradient checkpointing, and the state of every random generator. The caller must keep 4-bit weights from
being repacked (`keep_gradients`), as for training itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.inspection import WEIGHTS_FILE
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.weights import LoadedBase
from lorag.training.early_stopping import DevSet, StopEarly
from lorag.training.recipe_parts import Stopping
from lorag.training.reporting import Reporter

ADAPTER = "default"
"""peft's name for the adapter that is trained."""


@contextlib.contextmanager
def answering(model: Any, loaded: LoadedBase) -> Iterator[LocalEngine]:
    """Context with an engine on the peft `model`, adapter `ADAPTER` as it is now. Matrix products are in `loaded.compute`."""
    import torch

    training = model.training
    checkpointed = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    cuda = list(range(torch.cuda.device_count())) if loaded.device.startswith("cuda") else []
    device, half = loaded.device.partition(":")[0], loaded.compute == "bfloat16"
    with torch.random.fork_rng(devices=cuda), torch.autocast(device, dtype=torch.bfloat16, enabled=half):
        model.eval()
        for module in checkpointed:
            module.gradient_checkpointing = False
        try:
            yield LocalEngine.of_trained(loaded, model, ADAPTER)
        finally:
            for module in checkpointed:
                module.gradient_checkpointing = True
            model.train(training)


def early_stopping_callback(
    trainer: Any, loaded: LoadedBase, dev: DevSet, stopping: Stopping, run_folder: Path, reporter: Reporter | None
) -> StopEarly:
    """The callback that measures the adapter of `trainer` on `dev` and stops the run early."""

    def measure() -> Mapping[str, float]:
        with answering(trainer.model, loaded) as engine:
            return dev.measure(engine, ADAPTER)

    return StopEarly(measure, dev.metric, stopping, run_folder, reporter.send if reporter is not None else None)


def load_checkpoint(model: Any, checkpoint: Path) -> None:
    """Load the adapter weights of a checkpoint into the peft `model`."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(str(checkpoint / WEIGHTS_FILE)), ADAPTER)
