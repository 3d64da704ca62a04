"""Supervised fine-tuning of a generation adapter (rewriter, synthesizer, judge) through trl, on a quantized base (QLoRA).

Loss is on the reply only, normalised by its token count; logits are computed for those positions only. Prompts are
rendered by the contracts and encoded by the engine's own `ChatTokens`, so training sees the very tokens that serving
sends. Knows no role: an example is messages and a reply.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.processor import probe_threads
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.engine.tokens import ChatTokens
from lorag.pipeline.engine.weights import LoadedBase, keep_gradients, load_weights
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.records import Message
from lorag.training import processes
from lorag.training.answering import early_stopping_callback, load_checkpoint
from lorag.training.attention import use_lean_attention
from lorag.training.checkpoints import fit
from lorag.training.early_stopping import DevSet, best_of
from lorag.training.layer_masks import layer_masks, require_packable
from lorag.training.lora_options import initialise, lora_config, train_in_float32
from lorag.training.order import Batching, BatchShard, Chunks, RowOrder, batching_of, loader
from lorag.training.packing import IGNORED, Row, collate, pack
from lorag.training.progress import Progress, final_loss, loss_entries
from lorag.training.recipe import GenerationRecipe
from lorag.training.recipe_parts import GenerationOptimisation, Init, Optimizer
from lorag.training.reporting import reporting
from lorag.training.restoring import BeforeTraining
from lorag.training.saving import save_half, save_whole
from lorag.training.sft_checks import require_trainable, run_digest
from lorag.training.start_weights import load_start_weights
from lorag.training.targets import require_targets
from lorag.training.trainer_arguments import trainer_arguments

__all__ = ["Example", "TrainedAdapter", "encode", "target_loss", "train_adapter"]

NAMED = 5
"""Rows too long to train on that a notice names."""


@dataclass(frozen=True, slots=True)
class Example:
    """One training row as the model sees it; `id` names the row in errors."""

    id: str
    messages: tuple[Message, ...]
    target: str


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    """The result of a run: an adapter folder (half precision) and the figures for its card.

    `tokens` are those read, repeats counted. `seconds` are those of this process. `final_loss` is the mean over the last
    tenth of the steps. `dropped` names the rows that were too long to train on.
    """

    folder: Path
    steps: int
    epochs: float
    tokens: int
    seconds: float
    final_loss: float
    losses: tuple[tuple[int, float], ...]
    trainable_parameters: int
    total_parameters: int
    rows: int
    dropped: tuple[str, ...]
    compute: str
    dev: Mapping[str, float] = field(default_factory=dict)
    base: LoadedBase | None = field(default=None, repr=False, compare=False)
    """The base that trained, without the adapter and in the state of a fresh load; None if it is not to be kept."""


def encode(
    examples: Sequence[Example], tokens: ChatTokens, max_length: int
) -> tuple[list[dict[str, list[int]]], tuple[str, ...]]:
    """Token ids and labels per example, and the ids of those that are too long and are left out.

    Raises TrainingError for an empty target, or if no row is left.
    """
    rows, dropped = [], []
    for example in examples:
        if not example.target.strip():
            raise TrainingError(f"row {example.id!r} has an empty target; give every row a reply to learn, or remove it")
        prompt, reply = tokens.prompt(example.messages), tokens.reply(example.target)
        if len(prompt) + len(reply) > max_length:
            dropped.append(example.id)
            continue
        rows.append({"input_ids": prompt + reply, "labels": [IGNORED] * len(prompt) + reply})
    if not examples:
        raise TrainingError("no row to train on; the rewriter learns from rows with a history only, the others from all")
    if not rows:
        raise TrainingError(f"none of {len(examples)} rows fits max_length {max_length}; raise it or shorten the passages")
    return rows, tuple(dropped)


def _arguments(optimiser: GenerationOptimisation, batching: Batching, run_folder: Path, loaded: LoadedBase) -> Any:
    from trl import SFTConfig

    recomputed = optimiser.gradient_checkpointing
    return SFTConfig(
        **trainer_arguments(optimiser, run_folder, loaded.device),
        learning_rate=optimiser.learning_rate,
        per_device_train_batch_size=batching.micro_batch,
        gradient_accumulation_steps=batching.accumulate,
        # Every trained weight gets a gradient, and no buffer changes.
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        max_length=optimiser.row_tokens,
        gradient_checkpointing=loaded.device != "cpu" if recomputed == "auto" else recomputed,
        optim=_optim(optimiser.algorithm, loaded.device),
        bf16=loaded.compute == "bfloat16",
        fp16=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        # trl's own choice is eos, which a tokenizer may lack too.
        pad_token=loaded.tokenizer.convert_ids_to_tokens(ChatTokens(loaded.tokenizer).pad_id),
        remove_unused_columns=False,
        max_grad_norm=1.0,
        packing=False,
    )


def _optim(optimizer: Optimizer, device: str) -> str:
    """The trainer's name of an optimizer. Raises TrainingError for one in 8 bit without a GPU."""
    if optimizer is Optimizer.AUTO:
        return "adamw_torch" if device == "cpu" or processes.divide_optimizer() else "paged_adamw_8bit"
    if optimizer is Optimizer.ADAMW:
        return "adamw_torch"
    if device == "cpu":
        raise TrainingError(
            f"optimiser {optimizer.value} needs a GPU and there is none; set optimiser.algorithm to auto or adamw"
        )
    return optimizer.value if optimizer is Optimizer.PAGED_ADAMW_8BIT else "adamw_bnb_8bit"


def _trainer(
    loaded: LoadedBase, rows: list[dict[str, list[int]]], recipe: GenerationRecipe, run_folder: Path, *, full: bool
) -> Any:
    from datasets import Dataset
    from trl import SFTTrainer

    class TargetLossTrainer(SFTTrainer):
        """trl's trainer computes logits at every position unless it runs on Triton; this one only at the targets."""

        def get_train_dataloader(self) -> Any:
            return loader(self.train_dataset, _batches(rows, optimiser, batching), self.data_collator, self.accelerator.device)

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            loss, outputs = target_loss(model, inputs, num_items_in_batch)
            if num_items_in_batch is not None:  # counted in all processes, and their gradients are averaged
                loss = loss * batching.processes
            return (loss, outputs) if return_outputs else loss

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """No card at each checkpoint: the registry writes the card of a published adapter."""

    optimiser = recipe.optimiser
    batching = batching_of(optimiser.batch_size, optimiser.accumulate, processes.count())
    lora = lora_config(recipe.lora, ChatTokens(loaded.tokenizer).opening() if recipe.lora.activated else ())
    loaded.model.config.use_cache = False  # packed or not, SDPA must never see a cache while training (design §9)
    if loaded.device == "cpu":
        use_lean_attention(loaded.model)
    return TargetLossTrainer(
        model=loaded.model,
        args=_arguments(optimiser, batching, run_folder, loaded),
        train_dataset=Dataset.from_list(rows if batching.processes == 1 else [*rows, _blank(rows[0])]),
        processing_class=loaded.tokenizer,
        data_collator=partial(collate, pad_id=ChatTokens(loaded.tokenizer).pad_id) if optimiser.pack_tokens else None,
        peft_config=None if full else lora,
    )


def _batches(rows: Sequence[Row], optimiser: GenerationOptimisation, batching: Batching) -> Chunks | BatchShard:
    """The batches of this process. With one process these are all batches. The row after the last is `_blank`."""
    lengths = [len(row["input_ids"]) for row in rows]
    step = optimiser.batch_size * optimiser.accumulate
    chunks = Chunks(RowOrder(lengths, step, optimiser.seed, grouped=not optimiser.pack_tokens), batching.rows_per_pass)
    return chunks if batching.processes == 1 else BatchShard(chunks, batching.processes, processes.rank(), blank=len(rows))


def _blank(row: Row) -> dict[str, list[int]]:
    """A row of one token without a target. A process reads it if a step has no row left for it."""
    return {name: [IGNORED if name == "labels" else values[0]] for name, values in row.items()}


def target_loss(model: Any, inputs: Any, count: Any = None) -> tuple[Any, Any]:
    """Cross entropy in nats over the labelled positions of a batch, summed and divided by `count` (default: their number).

    Logits are computed only in columns in which some row has a target. Returns the loss and the model's outputs.
    """
    import torch

    labels, mask, positions = inputs["labels"][:, 1:], inputs.get("attention_mask"), inputs.get("position_ids")
    packed, bare = mask is not None and mask.dim() == 4, getattr(model, "module", model)  # several processes wrap the model
    columns = (labels != IGNORED).any(dim=0).nonzero()[:, 0]
    outputs = model(
        input_ids=inputs["input_ids"],
        attention_mask=layer_masks(bare.config, mask, positions, bare.dtype) if packed else mask,
        position_ids=positions,
        use_cache=False,
        logits_to_keep=columns,
    )
    wanted = labels[:, columns].to(outputs.logits.device)
    total = torch.nn.functional.cross_entropy(
        outputs.logits.float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / (count if count is not None else (wanted != IGNORED).sum()), outputs


def train_adapter(
    examples: Sequence[Example],
    base: Base,
    recipe: GenerationRecipe,
    run_folder: Path,
    *,
    device: str = "auto",
    full: bool = False,
    parent: Path | None = None,
    dev: DevSet | None = None,
    resume: bool = False,
    keep_base: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> TrainedAdapter:
    """Train one LoRA adapter on `base` and save it in half precision under `run_folder/adapter`.

    The run starts from the weights of the adapter folder `parent`, if one is given. With `recipe.dev` the adapter is measured on
    `dev`, which must then be given, and the best checkpoint is saved. `device` is as `processes.device` takes it. `full` trains
    all weights of the base in float32 instead of an adapter: for comparison, it cannot be published.

    With `keep_base` the result holds the base, to measure and publish with. A base that is sharded over processes, or was
    trained as a whole, is not kept.

    With `resume` the run continues from the newest complete checkpoint in `run_folder`. Raises TrainingError before the first
    step if the rows cannot be trained on, and as `fit` does. A KeyboardInterrupt passes through and leaves the checkpoints.
    """
    import torch

    start = time.monotonic()
    optimiser = recipe.optimiser
    require_trainable(recipe, dev, parent, full=full)
    processes.join(device)
    probe_threads()
    torch.manual_seed(optimiser.seed)
    loaded = load_weights(
        base,
        precision=recipe.precision,
        compute=recipe.compute,
        device=processes.device(device),
        divisible=processes.divide_weights(),
    )
    if not full:
        require_targets(loaded.model, recipe.lora, base.id)
    total, before = loaded.model.num_parameters(), BeforeTraining.of(loaded.model)
    rows, dropped = encode(examples, ChatTokens(loaded.tokenizer), optimiser.row_tokens)
    if dropped and on_notice is not None and processes.is_first():
        on_notice(
            f"{len(dropped)} of {len(examples)} rows are longer than {optimiser.row_tokens} tokens and are left out: "
            f"{', '.join(dropped[:NAMED])}{' …' if len(dropped) > NAMED else ''}"
        )
    if optimiser.pack_tokens:
        require_packable(loaded.model)
    sequences = pack(rows, optimiser.pack_tokens, optimiser.seed) if optimiser.pack_tokens else rows
    with quiet_libraries():
        trainer = _trainer(loaded, sequences, recipe, run_folder, full=full)
        keep_gradients(trainer.model)
        _full_precision_adapter(trainer.model, autocast=loaded.compute == "bfloat16")
        frozen = 0 if full else initialise(trainer.model, recipe.lora, Path(base.location))
        if parent is not None:
            load_start_weights(trainer.model, parent)
        run = run_digest(recipe, sequences, base, parent, dev, full=full)
        with reporting(trainer, run_folder, recipe) as reporter:
            if dev is not None and recipe.dev is not None:
                trainer.add_callback(early_stopping_callback(trainer, loaded, dev, recipe.dev, run_folder, reporter))
            fit(trainer, run_folder, resume=resume, run=run, on_progress=on_progress, on_notice=on_notice)
        best = None if dev is None else best_of(trainer.state.log_history, dev.metric)
        if best is not None and best.step != trainer.state.global_step:
            load_checkpoint(trainer.model, run_folder / f"checkpoint-{best.step}")
        folder = run_folder / ("model" if full else "adapter")
        model, state = trainer.accelerator.unwrap_model(trainer.model), processes.gathered_state(trainer)
        if processes.is_first() and full:
            save_whole(model, loaded.tokenizer, folder)
        elif processes.is_first():
            save_half(model, folder, base.id, state, as_one=recipe.lora.init is Init.PISSA)
        processes.barrier()
    losses = tuple((int(entry["step"]), float(entry["loss"])) for entry in loss_entries(trainer.state.log_history))
    epochs = float(trainer.state.epoch or 0.0)
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad) - frozen
    keep = keep_base and not full and processes.count() == 1
    if keep:
        before.restore(model)
    return TrainedAdapter(
        folder=folder,
        steps=int(trainer.state.global_step),
        epochs=epochs,
        tokens=round(epochs * sum(len(sequence["input_ids"]) for sequence in sequences)),
        seconds=time.monotonic() - start,
        final_loss=final_loss([loss for _, loss in losses]),
        losses=losses,
        trainable_parameters=trainable,
        total_parameters=total,
        rows=len(rows),
        dropped=dropped,
        compute=loaded.compute,
        dev={} if best is None else best.named,
        base=loaded if keep else None,
    )


def _full_precision_adapter(model: Any, *, autocast: bool) -> None:
    """Keep the trained weights in float32, whatever the base computes in.

    If autocast is on, it casts them for each product, so peft need not cast the activations to float32 first.
    """
    train_in_float32(model)
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = not autocast
