"""What a supervised run is made of, what of it goes together, and the digest by which a run is known again. Loads no model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lorag.pipeline.adapters.inspection import WEIGHTS_FILE
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.storage.digests import file_digest
from lorag.training.early_stopping import DevSet, Stopping
from lorag.training.lora_options import Init, LoraShape, require_possible
from lorag.training.reporting import require_back_ends
from lorag.training.run_settings import counted

_LATER = ("full", "rslora", "dora", "init", "activated", "optimizer", "gradient_checkpointing", "stopping")
"""Settings that runs begun before there were these do not know; left out of the digest while they ask for nothing."""


class Optimizer(StrEnum):
    """AdamW with its state in 32 or 8 bit; `paged` moves it out of a full GPU. `auto`: 32 bit on a CPU, else paged 8 bit."""

    AUTO = "auto"
    ADAMW = "adamw"
    ADAMW_8BIT = "adamw_8bit"
    PAGED_ADAMW_8BIT = "paged_adamw_8bit"


@dataclass(frozen=True, slots=True)
class SftSettings:
    """What a run is made of. `targets` is `all-linear` or module name suffixes; `max_steps` 0 means by `epochs`.

    With `pack_tokens`, rows are packed into sequences of that many tokens (`training.packing`) and `batch_size` counts these;
    0 pads rows of like length instead. `full` trains all of the base's weights, kept in float32, instead of an adapter: for
    comparison, it cannot be published. The LoRA options are those of `LoraShape`. `gradient_checkpointing` None means on a GPU
    only. With `stopping` the run ends early by a dev set. `report_to` names trackers (`training.reporting`).
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    learning_rate: float = 1e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.0
    batch_size: int = 4
    accumulate: int = 1
    epochs: float = 2.0
    max_steps: int = 0
    max_length: int = 1024
    pack_tokens: int = 0
    checkpoint_every: int = 50
    seed: int = 0
    precision: Precision = Precision.NF4
    compute: str = "auto"
    full: bool = False
    rslora: bool = False
    dora: bool = False
    init: Init = Init.DEFAULT
    activated: bool = False
    optimizer: Optimizer = Optimizer.AUTO
    gradient_checkpointing: bool | None = None
    stopping: Stopping | None = None
    report_to: tuple[str, ...] = ()

    @property
    def lora(self) -> LoraShape:
        return LoraShape(self.rank, self.alpha, self.dropout, self.targets, self.rslora, self.dora, self.init, self.activated)

    @property
    def row_tokens(self) -> int:
        """The longest row that is trained on, in tokens."""
        return min(self.max_length, self.pack_tokens or self.max_length)


def require_trainable(settings: SftSettings, dev: DevSet | None, parent: Path | None) -> None:
    """Raises TrainingError, before anything is loaded, for settings that do not work together."""
    if settings.full and settings.precision in (Precision.NF4, Precision.INT8):
        raise TrainingError(f"weights in {settings.precision.value} cannot be trained themselves: set precision to bf16 or fp32")
    if settings.full and settings.lora != LoraShape(settings.rank, settings.alpha, settings.dropout, settings.targets):
        raise TrainingError("full trains the base itself and has no LoRA options; leave rslora, dora, init and activated out")
    if settings.stopping is not None and (settings.full or dev is None):
        raise TrainingError("early stopping needs dev items and an adapter; give both, or take `dev` out of the recipe")
    if parent is not None and settings.init is not Init.DEFAULT:
        raise TrainingError(f"init {settings.init.value} and a parent adapter: a run begins at one of them; leave one out")
    require_possible(
        settings.lora, precision=settings.precision, pack_tokens=settings.pack_tokens, weight_decay=settings.weight_decay
    )
    require_back_ends(settings.report_to)


def run_digest(
    settings: SftSettings,
    rows: list[dict[str, list[int]]],
    base: Base,
    parent: Path | None = None,
    dev: DevSet | None = None,
) -> str:
    """What the run is made of; only how often it is saved and where it is reported may change on the way."""
    further = [] if parent is None else [file_digest(parent / WEIGHTS_FILE)]
    if settings.stopping is not None:
        further.append(hashlib.sha256(repr(dev).encode()).hexdigest())
    return hashlib.sha256(json.dumps([counted(settings, _LATER), rows, base.digest, *further]).encode()).hexdigest()
