"""Contrastive training of the embedder's LoRA adapter through the sentence-transformers trainer.

The loss raises the score of each query with its passage over the other passages of the batch and hard negatives (InfoNCE,
arXiv 1807.03748). Two-tower: queries and passages both go through the adapter. Query side only (arXiv 2601.04646): passages
are embedded once by the bare model, so an index filled by it stays valid. Texts are those of `contracts.embed`, the same as
in the index and the retriever. Evaluates nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.pipeline.contracts import embed
from lorag.pipeline.engine.processor import probe_threads
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.engine.weights import keep_gradients
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.training import processes
from lorag.training.checkpoints import fit
from lorag.training.contrastive_columns import (
    answers,
    cut_passages,
    index_columns,
    prompt,
    text_columns,
    tokens_per_epoch,
    with_blank,
)
from lorag.training.data.negatives import Pair, make_pairs
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.early_stopping import Best, StopEarly, best_of
from lorag.training.encoder_lora import add_lora, halve, has_bf16, recompute_activations, save_half, write_instruction
from lorag.training.losses import query_side_loss, two_tower_loss
from lorag.training.order import BatchShard, EvenChunks, RowOrder, loader
from lorag.training.progress import Progress, final_loss, loss_entries
from lorag.training.recipe import EmbeddingRecipe
from lorag.training.recipe_parts import Optimisation
from lorag.training.reporting import reporting, require_back_ends
from lorag.training.retrieval_dev import RetrievalDev
from lorag.training.trainer_arguments import counted, trainer_arguments

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.training.data.negatives import Vectors


@dataclass(frozen=True, slots=True)
class Encoder:
    """The model to train: `model` as `SentenceTransformerEmbedder` takes it, on `device` as `processes.device` takes it.

    `full` trains all of its weights instead of an adapter, `quantized` an adapter on it in 4 bit (QLoRA). Both are for comparison
    and cannot be published.
    """

    model: str
    device: str = "auto"
    full: bool = False
    quantized: bool = False

    def open(
        self, *, adapter: Path | None = None, query_side_only: bool = False, quantized: bool = False
    ) -> SentenceTransformerEmbedder:
        """The model, with an adapter if one is given, not yet loaded."""
        where = processes.device(self.device)
        return SentenceTransformerEmbedder(
            self.model,
            adapter=adapter,
            query_side_only=query_side_only,
            quantized=quantized,
            device=None if where == "auto" else where,
        )


@dataclass(frozen=True, slots=True)
class LossPoint:
    """The training loss of one optimizer step."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class TrainedEmbedder:
    """The result of a run: an adapter folder (float16) and the figures for its card.

    `tokens` counts all tokens read, with repeats. `seconds` are those of this process. `final_loss` is the mean over the last
    tenth of the steps. `dev` holds the dev figures of the saved checkpoint, and its step; it is empty if none were measured.
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
    dev: Mapping[str, float] = field(default_factory=dict)


def train_embedder(
    rows: Sequence[EmbedRow],
    passages: Sequence[PassageRow],
    encoder: Encoder,
    recipe: EmbeddingRecipe,
    run_folder: Path,
    *,
    dev: RetrievalDev | None = None,
    miner: Embedder | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> TrainedEmbedder:
    """Train one LoRA adapter and save it in half precision under `run_folder/adapter`.

    Hard negatives are mined by `miner`, the encoder of the index in use; without it by the bare model. With `dev` and
    `recipe.dev` the adapter is measured during training, and the best checkpoint is saved. With `resume` the run continues from
    the newest complete checkpoint. The same rows, recipe and thread count give the same weights. A KeyboardInterrupt passes
    through and leaves the checkpoints.

    Raises TrainingError if rows or recipe cannot be trained on, and as `fit` does; BaseError if the model cannot be loaded.
    """
    import torch

    start = time.monotonic()
    _check(rows, passages, encoder, recipe, dev)
    require_back_ends(recipe.report_to)
    processes.join(encoder.device)
    probe_threads()
    torch.manual_seed(recipe.optimiser.seed)
    prepared = _prepare(rows, passages, encoder, recipe, dev, miner)
    embedder, pairs = prepared.embedder, prepared.pairs
    model = embedder.load()
    texts = dict(zip([passage.id for passage in passages], _texts(passages), strict=True))
    cut = cut_passages(model, pairs, texts, embedder.identity.max_length)
    if cut and on_notice is not None and processes.is_first():
        on_notice(cut)
    with quiet_libraries():
        _set_trainable(model, encoder, recipe)
        trainer = _trainer(model, pairs, texts, prepared.passages, recipe, run_folder)
        run = _digest(encoder, recipe, pairs, texts, dev)
        with reporting(trainer, run_folder, recipe) as reporter:
            if dev is not None and recipe.dev is not None:
                frozen = prepared.dev_passages
                embed_passages = embedder.embed_passages if frozen is None else lambda _: frozen
                measure = partial(dev.measure, embedder.embed_queries, embed_passages)
                on_figures = reporter.send if reporter is not None else None
                trainer.add_callback(StopEarly(measure, dev.metric, recipe.dev, run_folder, on_figures))
            fit(trainer, run_folder, resume=resume, run=run, on_progress=on_progress, on_notice=on_notice)
        best = best_of(trainer.state.log_history, dev.metric) if dev is not None else None
        folder = run_folder / ("model" if encoder.full else "adapter")
        if processes.is_first():
            _save(trainer, model, encoder, recipe, folder, best)
        processes.barrier()
    curve = tuple(LossPoint(int(entry["step"]), float(entry["loss"])) for entry in loss_entries(trainer.state.log_history))
    epochs = float(trainer.state.epoch or 0.0)
    return TrainedEmbedder(
        folder=folder,
        steps=int(trainer.state.global_step),
        epochs=epochs,
        tokens=round(epochs * tokens_per_epoch(model, pairs, texts, queries_only=recipe.contrast.query_side_only)),
        seconds=time.monotonic() - start,
        final_loss=final_loss([point.loss for point in curve]),
        loss_curve=curve,
        pairs=len(pairs),
        trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        total_parameters=sum(p.numel() for p in model.parameters()),
        dev={} if best is None else best.named,
    )


def _check(
    rows: Sequence[EmbedRow],
    passages: Sequence[PassageRow],
    encoder: Encoder,
    recipe: EmbeddingRecipe,
    dev: RetrievalDev | None,
) -> None:
    size, contrast = recipe.optimiser.batch_size, recipe.contrast
    if len(rows) < 2:
        raise TrainingError(f"{len(rows)} embedder rows: contrastive training needs at least two, each the other's negative")
    if size < 2:
        raise TrainingError(f"batch_size {size}: a batch needs at least two queries, each the other's negative")
    if contrast.query_side_only and contrast.micro_batch:
        raise TrainingError("micro_batch is for two-tower training; query_side_only embeds only queries, leave micro_batch at 0")
    if contrast.micro_batch and processes.count() > 1:
        raise TrainingError("micro_batch is for one process; several share the batch already, leave micro_batch at 0")
    if encoder.full and (dev is not None or contrast.instruction):
        raise TrainingError("full trains for comparison alone: leave dev rows and instruction out")
    if encoder.full and encoder.quantized:
        raise TrainingError("weights in 4 bit cannot be trained themselves: train an adapter on them, or set quantized to false")
    for row in rows:
        if not embed.query_text(row.query):
            raise TrainingError(f"row {row.query_id!r} has an empty query; give it one, or remove the row")
    if len({passage.id for passage in passages}) < len(passages):
        raise TrainingError("two passages have the same id; ids must differ")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The embedder to train, without an adapter yet, and the pairs.

    If only the query side is trained: also the bare model's vectors of the corpus passages and of the dev passages, in order.
    """

    embedder: SentenceTransformerEmbedder
    pairs: tuple[Pair, ...]
    passages: Vectors | None = None
    dev_passages: Vectors | None = None


def _prepare(
    rows: Sequence[EmbedRow],
    passages: Sequence[PassageRow],
    encoder: Encoder,
    recipe: EmbeddingRecipe,
    dev: RetrievalDev | None,
    miner: Embedder | None,
) -> _Prepared:
    """Embed each passage once by each encoder that is needed. With several processes, the first one mines for all."""
    contrast, limit = recipe.contrast, recipe.optimiser.max_length
    embedder = encoder.open()
    model = embedder.load()
    own_length = model.max_seq_length
    if limit:
        model.max_seq_length = min(limit, own_length or limit)
    if contrast.instruction:
        model.prompts = {**(model.prompts or {}), "query": contrast.instruction}
    frozen = dev_frozen = None
    if contrast.query_side_only:
        frozen = embedder.embed_passages(_texts(passages))
        dev_frozen = _reuse_vectors(dev.passages, passages, frozen, embedder) if dev is not None else None
    # An adapter on the query side alone leaves the bare model's passage vectors as they are.
    same = (
        frozen is not None
        and model.max_seq_length == own_length
        and miner is not None
        and miner.identity.can_search(embedder.identity)
    )
    passage_vectors = frozen if miner is None or same else None
    pairs = processes.run_on_first(lambda: _pairs(rows, passages, recipe, miner or embedder, passage_vectors))
    if encoder.quantized:  # the unquantized model mines, so that all variants train on the same pairs
        embedder = encoder.open(quantized=True)
        quantized = embedder.load()
        quantized.max_seq_length, quantized.prompts = model.max_seq_length, model.prompts
        keep_gradients(quantized)
    return _Prepared(embedder, pairs, frozen, dev_frozen)


def _pairs(
    rows: Sequence[EmbedRow],
    passages: Sequence[PassageRow],
    recipe: EmbeddingRecipe,
    miner: Embedder,
    passage_vectors: Vectors | None,
) -> tuple[Pair, ...]:
    """The pairs to train on, with hard negatives mined by `miner`, whose passage vectors are given if they are known."""
    contrast, query_vectors = recipe.contrast, None
    if contrast.mines:
        passage_vectors = miner.embed_passages(_texts(passages)) if passage_vectors is None else passage_vectors
        query_vectors = miner.embed_queries([embed.query_text(row.query) for row in rows])
    return make_pairs(
        rows,
        passages,
        contrast.negatives,
        contrast.negatives_per_query,
        query_vectors=query_vectors,
        passage_vectors=passage_vectors,
        relative_margin=contrast.relative_margin,
        seed=recipe.optimiser.seed,
    )


def _reuse_vectors(
    wanted: Sequence[PassageRow], known: Sequence[PassageRow], vectors: Vectors, embedder: SentenceTransformerEmbedder
) -> Vectors:
    """The vectors of `wanted`, in order: given ones of `known` are reused, the others embedded."""
    import numpy as np

    place = {passage.id: at for at, passage in enumerate(known)}
    others = [passage for passage in wanted if passage.id not in place]
    place |= {passage.id: len(known) + at for at, passage in enumerate(others)}
    return np.concatenate([vectors, embedder.embed_passages(_texts(others))])[[place[passage.id] for passage in wanted]]


def _texts(passages: Sequence[PassageRow]) -> list[str]:
    return [embed.passage_text(passage.title, "", passage.text) for passage in passages]


def _set_trainable(model: Any, encoder: Encoder, recipe: EmbeddingRecipe) -> None:
    """Choose the weights to train: a new adapter, or all but those of BERT's own pooler, which get no gradient."""
    if encoder.full:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(".pooler." not in f".{name}")
    else:
        add_lora(model, recipe.lora, encoder.model)
    if recipe.optimiser.gradient_checkpointing is True:
        recompute_activations(model)


def _trainer(
    model: Any,
    pairs: Sequence[Pair],
    texts: dict[str, str],
    passage_vectors: Vectors | None,
    recipe: EmbeddingRecipe,
    run_folder: Path,
) -> Any:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer

    instructions, answered = {"query": prompt(model, "query")}, answers(pairs, list(texts))
    if passage_vectors is None:
        columns = text_columns(pairs, texts)
        instructions |= {name: prompt(model, "document", "passage") for name in columns if name not in ("query", "label")}
        loss = two_tower_loss(model, answered, recipe.contrast.scale, recipe.contrast.micro_batch)
    else:
        columns = index_columns(pairs, list(texts))
        loss = query_side_loss(model, passage_vectors, answered, recipe.contrast.scale)

    class CardlessTrainer(SentenceTransformerTrainer):  # type: ignore[misc, unused-ignore]
        def get_train_dataloader(self) -> Any:
            """Each pair once an epoch. The library keeps duplicates apart instead, and stops where it cannot."""
            order = RowOrder([1] * len(pairs), recipe.optimiser.batch_size, recipe.optimiser.seed, grouped=False)
            batches = EvenChunks(order, recipe.optimiser.batch_size)
            own = BatchShard(batches, processes.count(), processes.rank(), blank=len(pairs))
            return loader(Dataset.from_dict(with_blank(columns)), own, self.data_collator, self.accelerator.device)

        def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
            """The library's card quotes training texts in each checkpoint; LoRAG writes its own card on publishing."""

    return CardlessTrainer(
        model=model,
        args=_arguments(
            recipe.optimiser, run_folder, model.device.type, {name: text for name, text in instructions.items() if text}
        ),
        train_dataset=Dataset.from_dict(columns),
        loss=loss,
    )


def _arguments(optimiser: Optimisation, run_folder: Path, device: str, prompts: dict[str, str]) -> Any:
    from sentence_transformers import SentenceTransformerTrainingArguments

    return SentenceTransformerTrainingArguments(
        **trainer_arguments(optimiser, run_folder, device),
        learning_rate=optimiser.learning_rate,
        per_device_train_batch_size=max(1, optimiser.batch_size // processes.count()),
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        prompts=prompts or None,
        bf16=has_bf16(device),
    )


def _save(trainer: Any, model: Any, encoder: Encoder, recipe: EmbeddingRecipe, folder: Path, best: Best | None) -> None:
    """Save the adapter of the best checkpoint, or that of the last step. A whole model is saved by the library."""
    if encoder.full:
        model.save(str(folder), create_model_card=False)
        return
    if best is not None and best.step != trainer.state.global_step:
        halve(folder.parent / f"checkpoint-{best.step}", folder, encoder.model)
    else:
        save_half(model, folder, encoder.model)
    if recipe.contrast.instruction:
        write_instruction(folder, recipe.contrast.instruction)


def _digest(
    encoder: Encoder, recipe: EmbeddingRecipe, pairs: Sequence[Pair], texts: dict[str, str], dev: RetrievalDev | None
) -> str:
    """The run's identity. The checkpoint interval, the trackers and the device may change on resume."""
    model = asdict(replace(encoder, device=""))
    measured = [] if dev is None else [asdict(dev)]
    parts = [model, counted(recipe, stopped=dev is not None), [asdict(pair) for pair in pairs], texts, *measured]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
