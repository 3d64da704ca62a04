"""The parts that recipes of all roles are made of: LoRA shape, optimisation, data mix, early stopping, contrast.

Trainers take these records as they are. Knows settings only: no data, no model, no file.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lorag.training.data.negatives import Negatives

LONGEST_ROW = 8192
"""Limit in tokens of a row if a generation recipe sets none."""

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Targets = Literal["all-linear"] | Annotated[tuple[str, ...], Field(strict=False)]
"""Module name suffixes, or all linear layers."""


class Part(BaseModel):
    """Frozen and strict: an unknown key, a wrong type and a value that is no finite number are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False)


class Init(StrEnum):
    """Where an adapter starts: at zero (peft's default), at the base's principal components, or at its quantization error."""

    DEFAULT = "default"
    PISSA = "pissa"
    LOFTQ = "loftq"


class Optimizer(StrEnum):
    """AdamW with its state in 32 or 8 bit; `paged` moves it out of a full GPU. `auto`: 32 bit on a CPU, else paged 8 bit."""

    AUTO = "auto"
    ADAMW = "adamw"
    ADAMW_8BIT = "adamw_8bit"
    PAGED_ADAMW_8BIT = "paged_adamw_8bit"


class LoraShape(Part):
    """The adapter: W + scale · B·A, B (out, rank), A (rank, in), on the `targets` (arXiv 2106.09685).

    The scale is alpha / rank, with `rslora` alpha / √rank (arXiv 2312.03732). `dora` learns the length of each of W's rows apart
    from its direction (arXiv 2402.09353). Dropout costs a CPU run a tenth to a sixth of its time.
    """

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Count = 32
    dropout: Share = 0.0
    targets: Targets = "all-linear"
    rslora: bool = False
    dora: bool = False

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


class GenerationLora(LoraShape):
    """Of a language model. An `activated` adapter is switched on by the tokens that open a reply (arXiv 2504.12397).

    `training.lora_options` describes `init` and which options work together.
    """

    init: Annotated[Init, Field(strict=False)] = Init.DEFAULT
    activated: bool = False


class Optimisation(Part):
    """How it learns. `max_steps` 0 means by epochs; the rate rises for `warmup_share` of the steps, then falls linearly.

    `max_length` counts tokens; 0 means the model's own limit. `gradient_checkpointing` keeps no activations, for a third more
    time; `auto` means on a GPU for the generation roles, and off for the embedder.
    """

    learning_rate: Rate = 1e-3
    warmup_share: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Count = 4
    epochs: Annotated[float, Field(gt=0)] = 2.0
    max_steps: Annotated[int, Field(ge=0)] = 0
    max_length: Annotated[int, Field(ge=0)] = 1024
    checkpoint_every: Count = 50
    seed: int = 0
    gradient_checkpointing: Literal["auto"] | bool = "auto"


class GenerationOptimisation(Optimisation):
    """Of a language model. `continued_rate`, if it is not 0, replaces `learning_rate` in a run that continues from an adapter.

    With `pack_tokens`, rows are packed into sequences of that many tokens (`training.packing`), and `batch_size` counts
    sequences. A longer row is a sequence by itself. 0 pads rows of like length instead. A step reads `batch_size` · `accumulate`.
    """

    continued_rate: Share = 0.0
    accumulate: Count = 1
    pack_tokens: Annotated[int, Field(ge=0)] = 0
    algorithm: Annotated[Optimizer, Field(strict=False)] = Optimizer.AUTO

    @property
    def row_tokens(self) -> int:
        """The longest row that is trained on, in tokens."""
        return self.max_length or LONGEST_ROW


class DataMix(Part):
    """Which rows are used. `max_rows` 0 means all."""

    max_rows: Annotated[int, Field(ge=0)] = 0


class SynthesizerMix(DataMix):
    """`missing_gold` is the share of answerable questions shown without their gold passages, whose correct reply is the refusal.

    `shuffled` is the share shown with passages in random order; the rest have the order that retrieval would give.
    """

    missing_gold: Share = 0.12
    shuffled: Annotated[float, Field(ge=0, le=1)] = 0.5


class JudgeMix(DataMix):
    """`mixture`: how often an epoch shows the rows of a task, 1 if it is not named; 0.25 means a quarter of them, 0 none.

    `answered_support` is the number of support judgments that are made of answered training questions.
    """

    mixture: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict)
    answered_support: Annotated[int, Field(ge=0)] = 0


class Stopping(Part):
    """Early stopping: measure `items` dev items every `every` optimizer steps and at the last one.

    The run ends after `patience` times without a better figure of `metric` (empty: the role's own). The best checkpoint is
    published.
    """

    every: Count = 50
    patience: Count = 3
    items: Count = 32
    metric: str = ""


class Contrast(Part):
    """The embedder's loss: hard negatives per query and their source; `scale` is the inverse temperature.

    `micro_batch`, if it is not 0, is how many texts are embedded at a time, with cached gradients (arXiv 2101.06983): the same
    loss in less memory, in more time (two-tower only). `instruction` is put before each query, in training and, since the
    adapter carries it, when serving; empty: the model's own.
    """

    negatives: Annotated[Negatives, Field(strict=False)] = Negatives.MINED
    negatives_per_query: Annotated[int, Field(ge=0, le=16)] = 2
    relative_margin: Annotated[float, Field(gt=0, le=1)] = 0.95
    scale: Annotated[float, Field(gt=0)] = 20.0
    query_side_only: bool = False
    micro_batch: Annotated[int, Field(ge=0)] = 0
    instruction: str = ""

    @property
    def mines(self) -> bool:
        """Whether hard negatives are mined."""
        return self.negatives is Negatives.MINED and self.negatives_per_query > 0
