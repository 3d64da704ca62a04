"""Text classification by an encoder and a linear head: the encoder frozen, with a LoRA adapter, or trained whole.

The head is fitted first, on the frozen encoder's vectors, and then trained together with the encoder (linear probing, then
fine-tuning: arXiv 2202.10054). So the two others start from the frozen variant. Evaluates nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.linear_head import LinearHead, fit_head, load_head, save_head
from lorag.pipeline.config_problems import describe_problems
from lorag.pipeline.contracts import embed
from lorag.pipeline.engine.processor import probe_threads
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.errors import ConfigError, DataError
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.pipeline.yaml_text import read_yaml
from lorag.training.checkpoints import fit
from lorag.training.encoder_lora import add_lora, has_bf16, recompute_activations, save_half, tensor_bytes
from lorag.training.progress import final_loss, loss_entries
from lorag.training.recipe_parts import LoraShape, Optimisation, Targets
from lorag.training.trainer_arguments import trainer_arguments

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Vectors
    from lorag.training.progress import Progress

HEAD_FILE = "head.safetensors"
RECIPES = Path(__file__).parent / "recipes"
BUNDLED = ("classifier-minilm", "classifier-qwen3")


class Tuning(StrEnum):
    """What of the encoder learns: nothing, a LoRA adapter, or every weight."""

    FROZEN = "frozen"
    LORA = "lora"
    FULL = "full"


class ClassifierRecipe(BaseModel):
    """How a classifier is trained. Field names are those of the recipes' `lora` and `optimiser` groups.

    `full_learning_rate` is that of full fine-tuning, which needs about a tenth of an adapter's (arXiv 2405.09673). `l2` is the
    factor of the head's squared weights in the loss. `max_length` counts tokens, 0: the encoder's own limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    model: str = "minilm"
    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Targets = "all-linear"
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    full_learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 32
    epochs: Annotated[float, Field(gt=0)] = 1.0
    max_steps: Annotated[int, Field(ge=0)] = 0
    max_length: Annotated[int, Field(ge=0)] = 64
    l2: Annotated[float, Field(ge=0)] = 1e-5
    gradient_checkpointing: bool = False
    checkpoint_every: Annotated[int, Field(ge=1)] = 100
    seed: int = 0

    def lora(self) -> LoraShape:
        return LoraShape(rank=self.rank, alpha=self.alpha, dropout=self.dropout, targets=self.targets)

    def optimiser(self) -> Optimisation:
        return Optimisation(**{name: getattr(self, name) for name in Optimisation.model_fields})


def load_classifier_recipe(name: str) -> ClassifierRecipe:
    """The recipe that is bundled under `name`, or the file of that name. Raises ConfigError, all problems in one message."""
    path = RECIPES / f"{name}.yaml" if name in BUNDLED else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the recipe cannot be read: {error}; bundled ones: {', '.join(BUNDLED)}") from error
    parsed = read_yaml(text, str(path))
    try:
        return ClassifierRecipe.model_validate(parsed.value)
    except ValidationError as error:
        raise ConfigError(describe_problems(error, ClassifierRecipe, parsed, str(path))) from None


@dataclass(frozen=True, slots=True)
class LabelledText:
    """`group` is shared by texts that belong together, such as those of one product; empty: none."""

    id: str
    text: str
    label: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class TrainedClassifier:
    """A folder with the head and the tuned weights, and the cost.

    `updated` counts trained parameters of encoder and head, `total` all of them; `optimizer_bytes` is the optimiser's state at
    the end, `saved_bytes` the files to keep besides the base. `seconds` are wall-clock, `cpu_seconds` of this process.
    """

    folder: Path
    tuning: Tuning
    labels: tuple[str, ...]
    steps: int
    updated: int
    total: int
    optimizer_bytes: int
    saved_bytes: int
    seconds: float
    cpu_seconds: float
    final_loss: float


def train_classifier(
    rows: Sequence[LabelledText],
    recipe: ClassifierRecipe,
    tuning: Tuning,
    run_folder: Path,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> TrainedClassifier:
    """Fit the head, then tune it together with the encoder, and save both under `run_folder/classifier`.

    With `resume` it continues from the newest complete checkpoint. Raises DataError for rows of fewer than two labels or with an
    empty text, TrainingError and BaseError as the embedder's training does.
    """
    import torch

    started, cpu_started = time.monotonic(), time.process_time()
    labels = _labels(rows)
    probe_threads()
    torch.manual_seed(recipe.seed)
    encoder = SentenceTransformerEmbedder(recipe.model)
    model = encoder.load()
    if recipe.max_length:
        model.max_seq_length = min(recipe.max_length, model.max_seq_length or recipe.max_length)
    gold = [labels.index(row.label) for row in rows]
    head = fit_head(encoder.embed_queries([row.text for row in rows]), gold, len(labels), recipe.l2)
    total = sum(p.numel() for p in model.parameters())
    folder, steps, state, loss = run_folder / "classifier", 0, 0, head.loss
    updated = head.weights.size + head.bias.size
    if tuning is not Tuning.FROZEN:
        with quiet_libraries():
            trainer = _trainer(model, head, rows, gold, recipe, tuning, run_folder)
            fit(
                trainer,
                run_folder,
                resume=resume,
                run=_digest(rows, recipe, tuning),
                on_progress=on_progress,
                on_notice=on_notice,
            )
            _save_encoder(model, folder, recipe.model, tuning)
        head = trainer.model.trained_head()
        steps = int(trainer.state.global_step)
        updated = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
        state = tensor_bytes(trainer.optimizer.state_dict()["state"])
        loss = final_loss([float(entry["loss"]) for entry in loss_entries(trainer.state.log_history)])
    save_head(head, labels, folder / HEAD_FILE)
    return TrainedClassifier(
        folder=folder,
        tuning=tuning,
        labels=labels,
        steps=steps,
        updated=updated,
        total=total + head.weights.size + head.bias.size,
        optimizer_bytes=state,
        saved_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        seconds=time.monotonic() - started,
        cpu_seconds=time.process_time() - cpu_started,
        final_loss=loss,
    )


@dataclass(frozen=True, slots=True)
class Classifier:
    """A trained encoder with its head. `scores` are logits of shape (texts, labels)."""

    encoder: SentenceTransformerEmbedder
    head: LinearHead
    labels: tuple[str, ...]

    def scores(self, texts: Sequence[str]) -> Vectors:
        return self.head.scores(self.encoder.embed_queries(list(texts)))

    def classify(self, texts: Sequence[str]) -> list[str]:
        """The most likely label of each text."""
        return [self.labels[at] for at in self.scores(texts).argmax(axis=1).tolist()]


def load_classifier(folder: Path, model: str, *, max_length: int = 0) -> Classifier:
    """Load what `train_classifier` saved; `model` is the encoder it was trained on. Raises DataError, BaseError, NoEffect."""
    head, labels = load_head(folder / HEAD_FILE)
    if (folder / "encoder").is_dir():
        encoder = SentenceTransformerEmbedder(str(folder / "encoder"))
    elif (folder / "adapter").is_dir():
        encoder = SentenceTransformerEmbedder(model, adapter=folder / "adapter")
    else:
        encoder = SentenceTransformerEmbedder(model)
    if max_length:
        loaded = encoder.load()
        loaded.max_seq_length = min(max_length, loaded.max_seq_length or max_length)
    return Classifier(encoder, head, labels)


def _labels(rows: Sequence[LabelledText]) -> tuple[str, ...]:
    for row in rows:
        if not row.text.strip():
            raise DataError(f"row {row.id!r} has an empty text; give it one, or remove the row")
    labels = tuple(sorted({row.label for row in rows}))
    if len(labels) < 2:
        raise DataError(f"{len(rows)} rows with {len(labels)} label(s): a classifier needs at least two labels to tell apart")
    return labels


def _trainer(
    model: Any,
    head: LinearHead,
    rows: Sequence[LabelledText],
    gold: Sequence[int],
    recipe: ClassifierRecipe,
    tuning: Tuning,
    run_folder: Path,
) -> Any:
    """A plain Hugging Face trainer on encoder and head together, cross-entropy in nats."""
    from datasets import Dataset
    from transformers import Trainer

    if tuning is Tuning.LORA:
        add_lora(model, recipe.lora(), recipe.model)
    if recipe.gradient_checkpointing:
        recompute_activations(model)
    dataset = Dataset.from_dict({"text": [embed.query_text(row.text) for row in rows], "labels": list(gold)})
    prompt = (model.prompts or {}).get("query") or ""

    def collate(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import torch

        features = model.preprocess([prompt + row["text"] for row in batch])
        tensors = {name: value for name, value in features.items() if isinstance(value, torch.Tensor)}
        return {**tensors, "labels": torch.tensor([row["labels"] for row in batch])}

    rate = recipe.learning_rate if tuning is Tuning.LORA else recipe.full_learning_rate
    return Trainer(
        model=_with_head(model, head),
        args=_arguments(recipe, rate, run_folder, model.device.type),
        train_dataset=dataset,
        data_collator=collate,
    )


def _with_head(encoder: Any, head: LinearHead) -> Any:
    import numpy as np
    import torch

    class EncoderWithHead(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.head = torch.nn.Linear(head.weights.shape[1], head.weights.shape[0])
            self.head.weight.data = torch.from_numpy(np.array(head.weights))
            self.head.bias.data = torch.from_numpy(np.array(head.bias))
            self.head.to(encoder.device)

        def forward(self, labels: Any, **features: Any) -> dict[str, Any]:
            vectors = torch.nn.functional.normalize(self.encoder(features)["sentence_embedding"].float(), dim=-1)
            logits = torch.nn.functional.linear(vectors, self.head.weight, self.head.bias)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

        def trained_head(self) -> LinearHead:
            weights, bias = (p.detach().float().cpu().numpy() for p in (self.head.weight, self.head.bias))
            return LinearHead(weights, bias)

    return EncoderWithHead()


def _arguments(recipe: ClassifierRecipe, rate: float, run_folder: Path, device: str) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        **trainer_arguments(recipe.optimiser(), run_folder, device),
        learning_rate=rate,
        per_device_train_batch_size=recipe.batch_size,
        remove_unused_columns=False,
        label_names=["labels"],
        bf16=has_bf16(device),
    )


def _save_encoder(model: Any, folder: Path, name: str, tuning: Tuning) -> None:
    if tuning is Tuning.LORA:
        save_half(model, folder / "adapter", name)
    else:
        model.save(str(folder / "encoder"), create_model_card=False)


def _digest(rows: Sequence[LabelledText], recipe: ClassifierRecipe, tuning: Tuning) -> str:
    """The run's identity. Only the checkpoint interval may change on resume."""
    made_of = recipe.model_dump(mode="json", exclude={"checkpoint_every"})
    texts = [(row.text, row.label) for row in rows]
    return hashlib.sha256(json.dumps([made_of, tuning.value, texts]).encode()).hexdigest()
