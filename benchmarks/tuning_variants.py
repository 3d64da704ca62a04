"""Ways to tune the same model on the same rows, and the cost of each: full fine-tuning, LoRA, QLoRA.

All runs of a comparison share rows, their order, steps, batch, schedule and seed. They differ in the trained weights, in the
precision of the frozen ones, and in the learning rate, since one that suits an adapter destroys a fully trained model. Measures
cost only, no quality.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.peak import peak_memory, reset_peak
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.processor import compute_dtype, detect
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import InputError, TrainingError
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.training.checkpoints import discard, newest_complete
from lorag.training.contrastive import Encoder, train_embedder
from lorag.training.dataset import DataFolder
from lorag.training.encoder_lora import tensor_bytes
from lorag.training.examples import rank_for, rewrite_examples, synthesize_examples
from lorag.training.passage_search import PassageSearch, plain_retrieval
from lorag.training.progress import LOSS_FILE, Progress
from lorag.training.recipe import EmbeddingRecipe, GenerationRecipe, R, Recipe, SynthesizerRecipe, changed
from lorag.training.run import subset
from lorag.training.sft import Example, train_adapter

FULL_RATE = 0.1
"""Learning rate of full fine-tuning as a share of LoRA's: the best ones differ by a factor of about ten in many models and tasks
(Schulman et al. 2025, "LoRA Without Regret")."""

ROLES = (Role.EMBEDDER, Role.SYNTHESIZER, Role.REWRITER)


class Method(StrEnum):
    """`untuned` is the model as it comes, in its plain prompt, with which the others are compared."""

    UNTUNED = "untuned"
    FULL = "full"
    LORA = "lora"
    QLORA = "qlora"


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to tune. `rank` and `learning_rate` are 0 if there is none."""

    method: Method
    rank: int = 0
    learning_rate: float = 0.0

    @property
    def name(self) -> str:
        """Such as `lora-16`: names a folder, and with the learning rate a line of the journal."""
        return f"{self.method.value}-{self.rank}" if self.rank else self.method.value

    @property
    def title(self) -> str:
        """The name in tables."""
        names = {Method.UNTUNED: "untuned", Method.FULL: "full", Method.LORA: "LoRA", Method.QLORA: "QLoRA"}
        return names[self.method] + (f" r {self.rank}" if self.rank else "")


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a run. All sizes are in bytes.

    `trained` of `total` parameters were updated, `total` without an adapter's own. `peak` is the process's peak memory (on CUDA
    the device's), `floor` its memory before any weight was loaded. `seconds` and `cpu_seconds` are those of the steps, without
    loading and saving. `saved` is the size of the files to keep besides the original model.
    """

    trained: int
    total: int
    peak: int
    floor: int
    optimizer: int
    seconds: float
    cpu_seconds: float
    steps: int
    tokens: int
    saved: int
    final_loss: float
    device: str

    @property
    def share(self) -> float:
        return self.trained / self.total


@dataclass(frozen=True, slots=True)
class Tuned:
    """A finished run: the folder of its adapter or model, and its cost."""

    folder: Path
    cost: Cost


@dataclass(frozen=True, slots=True)
class Task:
    """What all runs of a comparison share; `k` passages are shown to the synthesizer, `rows` 0 means all."""

    role: Role
    data: DataFolder
    recipe: Recipe
    base: str
    embedder: str
    k: int
    rows: int = 0
    steps: int = 0


def plan(
    methods: Sequence[Method],
    ranks: Sequence[int],
    qlora_ranks: Sequence[int],
    rates: dict[Method, float],
) -> tuple[Variant, ...]:
    """The untuned model, then the variants in the order of the methods. `rates` holds a learning rate a method.

    Raises InputError for a rank that is repeated or below 1, and if there is nothing to compare.
    """
    chosen = list(dict.fromkeys(method for method in methods if method is not Method.UNTUNED))
    if not chosen:
        raise InputError("nothing to compare: name at least one of full, lora, qlora")
    found = [Variant(Method.UNTUNED)]
    for method in chosen:
        if method is Method.FULL:
            found.append(Variant(method, 0, rates[method]))
            continue
        wanted = ranks if method is Method.LORA else qlora_ranks
        if not wanted or min(wanted) < 1 or len(set(wanted)) < len(wanted):
            raise InputError(f"ranks of {method.value}: {list(wanted)}; give each once, from 1 on")
        found += [Variant(method, rank, rates[method]) for rank in wanted]
    return tuple(found)


def learning_rates(recipe: Recipe) -> dict[Method, float]:
    """The recipe's rate for adapters; a tenth of it for full fine-tuning."""
    rate = recipe.optimiser.learning_rate
    return {Method.FULL: FULL_RATE * rate, Method.LORA: rate, Method.QLORA: rate}


def precision_of(variant: Variant) -> Precision:
    """The precision of a generation base: NF4 for QLoRA; for the others bfloat16 if the processor has it."""
    if variant.method is Method.QLORA:
        return Precision.NF4
    return Precision.BF16 if half_precision() else Precision.FP32


def half_precision() -> bool:
    """Whether bfloat16 is fast here."""
    import torch

    return torch.cuda.is_available() or compute_dtype(detect()) == "bfloat16"


def tune(task: Task, variant: Variant, folder: Path, on_progress: Callable[[Progress], None] | None = None) -> Tuned:
    """Train `variant` in `folder` from scratch and measure its cost; checkpoints are deleted, the result stays.

    Run it in its own process: memory is that of the whole process. Raises as `train_embedder` and `train_adapter` do,
    InputError for a role that is not compared.
    """
    if task.role not in ROLES:
        raise InputError(f"the {task.role.value} is not compared; choose one of {', '.join(role.value for role in ROLES)}")
    _load_libraries()
    floor = peak_memory()
    discard(folder)
    clock = _StepClock(on_progress)
    recipe = task.recipe
    if isinstance(recipe, EmbeddingRecipe):
        trained = _embedder(task, recipe, variant, folder, clock)
    else:
        trained = _generation(task, recipe, variant, folder, clock)
    peak, device = peak_memory(), _device()
    optimizer = optimizer_bytes(folder)
    curve = (folder / LOSS_FILE).read_bytes()
    discard(folder)  # the checkpoints: only the result is compared
    (folder / LOSS_FILE).write_bytes(curve)
    cost = Cost(
        trained=trained.trainable_parameters,
        total=_parameters(task.embedder) if task.role is Role.EMBEDDER else trained.total_parameters,
        peak=peak,
        floor=floor,
        optimizer=optimizer,
        seconds=clock.seconds * trained.steps,
        cpu_seconds=clock.cpu_seconds * trained.steps,
        steps=trained.steps,
        tokens=trained.tokens,
        saved=sum(path.stat().st_size for path in trained.folder.rglob("*") if path.is_file()),
        final_loss=trained.final_loss,
        device=device,
    )
    return Tuned(trained.folder, cost)


class _StepClock:
    """Seconds a step, from the end of the first to the end of the last step: the first also warms caches."""

    def __init__(self, on_progress: Callable[[Progress], None] | None) -> None:
        self._on_progress = on_progress
        self._first: tuple[int, float, float] | None = None
        self._last: tuple[int, float, float] | None = None

    def __call__(self, at: Progress) -> None:
        self._last = (at.step, time.perf_counter(), time.process_time())
        self._first = self._first or self._last
        if self._on_progress is not None:
            self._on_progress(at)

    @property
    def seconds(self) -> float:
        return self._each(1)

    @property
    def cpu_seconds(self) -> float:
        return self._each(2)

    def _each(self, which: int) -> float:
        first, last = self._first, self._last
        if first is None or last is None or last[0] == first[0]:
            raise TrainingError("one step is too few to time: give --steps 2 or more")
        return float(last[which] - first[which]) / (last[0] - first[0])


def _load_libraries() -> None:
    """Load the libraries before memory is measured, so that no variant is charged for them."""
    with quiet_libraries():
        import bitsandbytes  # noqa: F401
        import sentence_transformers  # noqa: F401
        import trl  # noqa: F401
    reset_peak()


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _as_variant(recipe: R, task: Task, variant: Variant) -> R:
    """The recipe of a variant; all variants have the same steps."""
    return changed(
        recipe,
        rank=variant.rank or recipe.lora.rank,
        learning_rate=variant.learning_rate,
        max_steps=task.steps or recipe.optimiser.max_steps,
        checkpoint_every=10**9,  # the trainer saves at its end: checkpoints on the way would count as time
        dev=None,
    )


def _embedder(task: Task, recipe: EmbeddingRecipe, variant: Variant, folder: Path, clock: _StepClock) -> Any:
    encoder = Encoder(task.embedder, full=variant.method is Method.FULL, quantized=variant.method is Method.QLORA)
    rows = subset(list(task.data.embed_rows("train")), recipe, task.rows)
    passages = list(task.data.training_passages().values())
    return train_embedder(rows, passages, encoder, _as_variant(recipe, task, variant), folder, on_progress=clock)


def _parameters(model: str) -> int:
    """The original encoder's parameters; a 4-bit one packs two into each value that it counts."""
    return sum(parameter.numel() for parameter in SentenceTransformerEmbedder(model).load().parameters())


def _generation(task: Task, recipe: GenerationRecipe, variant: Variant, folder: Path, clock: _StepClock) -> Any:
    chosen = changed(_as_variant(recipe, task, variant), precision=precision_of(variant))
    examples = subset(_examples(task, recipe), recipe, task.rows)
    full = variant.method is Method.FULL
    return train_adapter(examples, resolve_base(task.base), chosen, folder, full=full, on_progress=clock)


def _examples(task: Task, recipe: GenerationRecipe) -> list[Example]:
    if not isinstance(recipe, SynthesizerRecipe):
        return rewrite_examples(task.data.rewrites("train"))
    questions, passages = task.data.questions("train"), task.data.training_passages()
    share, seed = recipe.data.missing_gold, recipe.optimiser.seed
    with PassageSearch(passages, plain_retrieval(task.embedder, task.k)) as search:
        rankings = rank_for(questions, search, task.k, training=True, missing_gold=share, seed=seed)
    return synthesize_examples(
        questions, passages, rankings, k=task.k, missing_gold=share, shuffled=recipe.data.shuffled, seed=seed
    )


def optimizer_bytes(run_folder: Path) -> int:
    """Bytes of all tensors in the optimizer's state, as the newest checkpoint in `run_folder` holds it."""
    import torch

    newest = newest_complete(run_folder)
    if newest is None:
        raise TrainingError(f"{run_folder}: the run left no checkpoint, so its optimizer cannot be measured; run it again")
    return tensor_bytes(torch.load(newest / "optimizer.pt", map_location="cpu", weights_only=True, mmap=True)["state"])
