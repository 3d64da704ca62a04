"""Contrastive training of the embedder's LoRA adapter through the sentence-transformers trainer.

Each query is pulled to its passage and away from the other passages of the batch and its hard negatives (InfoNCE, arXiv
1807.03748). Two-tower: queries and passages both go through the adapter. Query side only (arXiv 2601.04646): passages
are embedded once by the bare model, so an index filled by it stays valid. Texts are those of `contracts.embed`, so training
sees what the index and the retriever embed. Evaluates nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contracts import embed
from pipeline.engine.processor import compute_dtype, detect, probe_threads
from pipeline.engine.quiet import quiet_libraries
from pipeline.errors import TrainingError
from pipeline.retrieval.sentence_encoder import MINILM, SentenceTransformerEmbedder
from training.checkpoints import fit
from training.data.negatives import Negatives, Pair, make_pairs
from training.data.rows import EmbedRow, PassageRow
from training.losses import query_side_loss, two_tower_loss
from training.progress import Progress, loss_entries

if TYPE_CHECKING:
    from training.data.negatives import Vectors

MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
"""What the adapter's config names as base where the model is the packaged copy of it."""


@dataclass(frozen=True, slots=True)
class ContrastiveSettings:
    """What a run is made of.

    `targets` is `all-linear` or module name suffixes. `max_steps` 0 means by `epochs`. `scale` is the inverse temperature of
    the softmax over cosine similarities. `micro_batch` 0 embeds a whole batch at once; otherwise gradients are cached
    (arXiv 2101.06983), which gives a large batch the memory of a small one (two-tower only). `max_length` counts tokens, 0
    means the model's own. `warmup_share` is of all steps. `dropout` is the adapter's, beside the model's own; it costs a sixth of
    time and memory.
    """

    model: str = MINILM
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    learning_rate: float = 5e-4
    warmup_share: float = 0.1
    weight_decay: float = 0.0
    batch_size: int = 32
    micro_batch: int = 0
    epochs: float = 2.0
    max_steps: int = 0
    negatives: Negatives = Negatives.MINED
    negatives_per_query: int = 2
    relative_margin: float = 0.95
    scale: float = 20.0
    query_side_only: bool = False
    max_length: int = 0
    checkpoint_every: int = 50
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LossPoint:
    """The training loss of one optimizer step."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class TrainedEmbedder:
    """The result of a run: an adapter folder (float16) and the figures that go on its card.

    `tokens` are those read, repeats counted. `seconds` are those of this process. `final_loss` is the mean over the last
    tenth of the steps.
    """

    folder: Path
    steps: int
    epochs: float
    tokens: int
    seconds: float
    final_loss: float
    loss_curve: tuple[LossPoint, ...]
    pairs: int
    trainable_parameters: int
    total_parameters: int


def train_embedder(
    rows: Sequence[EmbedRow],
    passages: Sequence[PassageRow],
    settings: ContrastiveSettings,
    run_folder: Path,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> TrainedEmbedder:
    """Train one LoRA adapter and save it in half precision under `run_folder/adapter`.

    With `resume` it goes on from the newest complete checkpoint. The same rows, settings and thread count give the same
    weights. A KeyboardInterrupt passes through and leaves the checkpoints.

    Raises TrainingError where rows or settings cannot be trained on, and as `fit` does; BaseError where the model cannot be
    had.
    """
    import torch

    start = time.monotonic()
    _check(rows, passages, settings)
    probe_threads()
    torch.manual_seed(settings.seed)
    model, pairs, passage_vectors = _prepare(rows, passages, settings)
    texts = {passage.id: embed.passage_text(passage.title, "", passage.text) for passage in passages}
    with quiet_libraries():
        _add_lora(model, settings)
        trainer = _trainer(model, pairs, texts, passage_vectors, settings, run_folder)
        run = _digest(settings, pairs, texts)
        fit(trainer, run_folder, resume=resume, run=run, on_progress=on_progress, on_notice=on_notice)
        folder = _save_half(model, run_folder / "adapter", settings.model)
    curve = tuple(LossPoint(int(entry["step"]), float(entry["loss"])) for entry in loss_entries(trainer.state.log_history))
    tail = curve[-max(1, len(curve) // 10) :]
    epochs = float(trainer.state.epoch or 0.0)
    return TrainedEmbedder(
        folder=folder,
        steps=int(trainer.state.global_step),
        epochs=epochs,
        tokens=round(epochs * _tokens_per_epoch(model, pairs, texts, settings)),
        seconds=time.monotonic() - start,
        final_loss=sum(point.loss for point in tail) / len(tail),
        loss_curve=curve,
        pairs=len(pairs),
        trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        total_parameters=sum(p.numel() for p in model.parameters()),
    )


def _check(rows: Sequence[EmbedRow], passages: Sequence[PassageRow], settings: ContrastiveSettings) -> None:
    if len(rows) < 2:
        raise TrainingError(f"{len(rows)} embedder rows: contrastive training needs at least two, each the other's negative")
    if settings.batch_size < 2:
        raise TrainingError(f"batch_size {settings.batch_size}: a batch needs at least two queries, each the other's negative")
    if settings.query_side_only and settings.micro_batch:
        raise TrainingError("micro_batch is for two-tower training; query_side_only embeds only queries, leave micro_batch at 0")
    for row in rows:
        if not embed.query_text(row.query):
            raise TrainingError(f"row {row.query_id!r} has an empty query; give it one, or remove the row")
    if len({passage.id for passage in passages}) < len(passages):
        raise TrainingError("two passages have the same id; ids must differ")


def _prepare(
    rows: Sequence[EmbedRow], passages: Sequence[PassageRow], settings: ContrastiveSettings
) -> tuple[Any, tuple[Pair, ...], Vectors | None]:
    """The model before any adapter, the pairs, and the bare model's passage vectors where they are needed."""
    embedder = SentenceTransformerEmbedder(settings.model)
    model = embedder.load()
    if settings.max_length:
        model.max_seq_length = min(settings.max_length, model.max_seq_length or settings.max_length)
    mined = settings.negatives is Negatives.MINED and settings.negatives_per_query > 0
    passage_vectors = query_vectors = None
    if mined or settings.query_side_only:
        passage_vectors = embedder.embed_passages([embed.passage_text(p.title, "", p.text) for p in passages])
    if mined:
        query_vectors = embedder.embed_queries([embed.query_text(row.query) for row in rows])
    pairs = make_pairs(
        rows,
        passages,
        settings.negatives,
        settings.negatives_per_query,
        query_vectors=query_vectors,
        passage_vectors=passage_vectors,
        relative_margin=settings.relative_margin,
        seed=settings.seed,
    )
    if not settings.query_side_only:
        return model, pairs, None
    return model, pairs, passage_vectors


def _add_lora(model: Any, settings: ContrastiveSettings) -> None:
    from peft import LoraConfig

    targets: str | list[str] = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        # BERT's own pooler comes after the hidden states that are averaged: it would get weights and no gradient.
        exclude_modules=r"(.*\.)?pooler\..*",
        task_type="FEATURE_EXTRACTION",
    )
    try:
        model.add_adapter(lora)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"targets {settings.targets}: {reason}; name linear modules of {settings.model}") from error


def _trainer(
    model: Any,
    pairs: Sequence[Pair],
    texts: dict[str, str],
    passage_vectors: Vectors | None,
    settings: ContrastiveSettings,
    run_folder: Path,
) -> Any:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer

    prompts = {"query": _prompt(model, "query")}
    if passage_vectors is None:
        columns = _text_columns(pairs, texts)
        prompts |= {name: _prompt(model, "document", "passage") for name in columns if name != "query"}
        loss = two_tower_loss(model, settings.scale, settings.micro_batch)
    else:
        columns = _index_columns(pairs, list(texts))
        loss = query_side_loss(model, passage_vectors, settings.scale)

    class CardlessTrainer(SentenceTransformerTrainer):  # type: ignore[misc, unused-ignore]
        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """The library's card quotes training texts into each checkpoint; ours is written when the adapter is published."""

    return CardlessTrainer(
        model=model,
        args=_arguments(settings, run_folder, model.device.type, {name: prompt for name, prompt in prompts.items() if prompt}),
        train_dataset=Dataset.from_dict(columns),
        loss=loss,
    )


def _arguments(settings: ContrastiveSettings, run_folder: Path, device: str, prompts: dict[str, str]) -> Any:
    from sentence_transformers import SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import BatchSamplers

    return SentenceTransformerTrainingArguments(
        output_dir=str(run_folder),
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup_share,
        weight_decay=settings.weight_decay,
        per_device_train_batch_size=settings.batch_size,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        # The same text twice in a batch would be its own negative.
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        prompts=prompts or None,
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="steps",
        save_steps=settings.checkpoint_every,
        logging_steps=1,
        logging_nan_inf_filter=False,
        bf16=compute_dtype(detect()) == "bfloat16",
        report_to="none",
        disable_tqdm=True,
        use_cpu=device == "cpu",
        dataloader_pin_memory=False,
    )


def _prompt(model: Any, *names: str) -> str:
    """The instruction that serving puts before such a text."""
    prompts = model.prompts or {}
    return next((prompts[name] for name in (*names, model.default_prompt_name) if prompts.get(name)), "")


def _text_columns(pairs: Sequence[Pair], texts: dict[str, str]) -> dict[str, list[str]]:
    columns = {
        "query": [embed.query_text(pair.query) for pair in pairs],
        "positive": [texts[pair.positive_id] for pair in pairs],
    }
    for number in range(len(pairs[0].negative_ids)):
        columns[f"negative_{number + 1}"] = [texts[pair.negative_ids[number]] for pair in pairs]
    return columns


def _index_columns(pairs: Sequence[Pair], passage_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Queries as text; passages as rows of the table of frozen vectors, the positive first."""
    place = {passage_id: index for index, passage_id in enumerate(passage_ids)}
    return {
        "query": [embed.query_text(pair.query) for pair in pairs],
        "label": [[place[pair.positive_id], *(place[negative] for negative in pair.negative_ids)] for pair in pairs],
    }


def _tokens_per_epoch(model: Any, pairs: Sequence[Pair], texts: dict[str, str], settings: ContrastiveSettings) -> int:
    limit = model.max_seq_length or 0

    def count(text: str) -> int:
        length = len(model.tokenizer(text, truncation=False, verbose=False)["input_ids"])
        return min(length, limit) if limit else length

    queries = sum(count(embed.query_text(pair.query)) for pair in pairs)
    if settings.query_side_only:
        return queries
    lengths = {passage_id: count(text) for passage_id, text in texts.items()}
    return queries + sum(lengths[passage_id] for pair in pairs for passage_id in (pair.positive_id, *pair.negative_ids))


def _save_half(model: Any, folder: Path, name: str) -> Path:
    """Save the adapter as plain peft does, in float16, without this machine's paths."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    model.transformers_model.save_pretrained(str(folder))
    weights = folder / "adapter_model.safetensors"
    with safe_open(str(weights), framework="pt") as stored:
        tensors = {key: stored.get_tensor(key).half().contiguous() for key in stored.keys()}  # noqa: SIM118
    save_file(tensors, str(weights), metadata={"format": "pt"})
    config_file = folder / "adapter_config.json"
    config = json.loads(config_file.read_bytes())
    config |= {"base_model_name_or_path": MINILM_HUB_ID if name == MINILM else name, "inference_mode": True}
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def _digest(settings: ContrastiveSettings, pairs: Sequence[Pair], texts: dict[str, str]) -> str:
    """What the run is made of; only how often it is saved may change on the way."""
    made_of = asdict(settings)
    del made_of["checkpoint_every"]
    return hashlib.sha256(json.dumps([made_of, [asdict(pair) for pair in pairs], texts]).encode()).hexdigest()
