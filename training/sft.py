"""Supervised fine-tuning of a generation adapter (rewriter, synthesizer, judge) through trl, on a quantized base (QLoRA).

Loss is on the reply only, normalised by its token count; logits are computed for those positions only. Prompts are
rendered by the contracts and encoded by the engine's own `ChatTokens`, so training sees the very tokens that serving
sends. Knows no role: an example is messages and a reply.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.engine.bases import Base
from pipeline.engine.processor import probe_threads
from pipeline.engine.quiet import quiet_libraries
from pipeline.engine.tokens import ChatTokens
from pipeline.engine.weights import LoadedBase, Precision, keep_gradients, load_weights
from pipeline.errors import TrainingError
from pipeline.records import Message
from training.attention import use_lean_attention
from training.checkpoints import fit
from training.packing import IGNORED, collate, pack
from training.progress import Progress, loss_entries


@dataclass(frozen=True, slots=True)
class Example:
    """One training row as the model sees it; `id` names the row in errors."""

    id: str
    messages: tuple[Message, ...]
    target: str


@dataclass(frozen=True, slots=True)
class SftSettings:
    """What a run is made of. `targets` is `all-linear` or module name suffixes; `max_steps` 0 means by `epochs`.

    With `pack_tokens`, rows are packed into sequences of that many tokens (`training.packing`) and `batch_size` counts these;
    0 pads rows of like length instead.
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

    @property
    def row_tokens(self) -> int:
        """The longest row that is trained on, in tokens."""
        return min(self.max_length, self.pack_tokens or self.max_length)


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    """The result of a run: an adapter folder (half precision) and the figures that go on its card.

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


def encode(
    examples: Sequence[Example], tokens: ChatTokens, max_length: int
) -> tuple[list[dict[str, list[int]]], tuple[str, ...]]:
    """Token ids and labels per example, and the ids of those that are too long and are left out.

    Raises TrainingError for an empty target, or where nothing is left.
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


def _arguments(settings: SftSettings, run_folder: Path, loaded: LoadedBase) -> Any:
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(run_folder),
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup_share,
        weight_decay=settings.weight_decay,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        max_length=settings.max_length,
        train_sampling_strategy="random" if settings.pack_tokens else "group_by_length",
        gradient_checkpointing=loaded.device != "cpu",
        optim="adamw_torch" if loaded.device == "cpu" else "paged_adamw_8bit",
        bf16=loaded.compute == "bfloat16",
        fp16=False,
        seed=settings.seed,
        data_seed=settings.seed,
        save_steps=settings.checkpoint_every,
        save_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=loaded.device == "cpu",
        dataloader_pin_memory=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        max_grad_norm=1.0,
        packing=False,
    )


def _trainer(loaded: LoadedBase, rows: list[dict[str, list[int]]], settings: SftSettings, run_folder: Path) -> Any:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTTrainer

    class TargetLossTrainer(SFTTrainer):
        """trl's trainer scores every position against the whole vocabulary unless it runs on Triton; this one, the targets."""

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            loss, outputs = target_loss(model, inputs, num_items_in_batch)
            return (loss, outputs) if return_outputs else loss

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Not one at each checkpoint: the registry writes the card of what is published."""

    targets: str | list[str] = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    lora = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    loaded.model.config.use_cache = False  # packed or not, SDPA must never see a cache while training (design §9)
    if loaded.device == "cpu":
        use_lean_attention(loaded.model)
    return TargetLossTrainer(
        model=loaded.model,
        args=_arguments(settings, run_folder, loaded),
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tokenizer,
        data_collator=partial(collate, pad_id=loaded.tokenizer.pad_token_id) if settings.pack_tokens else None,
        peft_config=lora,
    )


def target_loss(model: Any, inputs: Any, count: Any = None) -> tuple[Any, Any]:
    """Cross entropy in nats over the labelled positions of a batch, summed and divided by `count` (default: their number).

    Logits are computed only in the columns where some row has a target. Returns the loss and the model's outputs.
    """
    import torch

    labels = inputs["labels"][:, 1:]
    columns = (labels != IGNORED).any(dim=0).nonzero()[:, 0]
    outputs = model(
        input_ids=inputs["input_ids"],
        attention_mask=_additive(inputs.get("attention_mask"), model.dtype),
        position_ids=inputs.get("position_ids"),
        use_cache=False,
        logits_to_keep=columns,
    )
    wanted = labels[:, columns].to(outputs.logits.device)
    total = torch.nn.functional.cross_entropy(
        outputs.logits.float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / (count if count is not None else (wanted != IGNORED).sum()), outputs


def _additive(mask: Any, dtype: Any) -> Any:
    """A four-dimensional boolean mask as what eager attention adds to its scores, in their type; any other mask as it is."""
    import torch

    if mask is None or mask.dim() < 4:
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def train_adapter(
    examples: Sequence[Example],
    base: Base,
    settings: SftSettings,
    run_folder: Path,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> TrainedAdapter:
    """Train one LoRA adapter on `base` and save it in half precision under `run_folder/adapter`.

    With `resume`, goes on from the newest complete checkpoint in `run_folder`. Raises TrainingError before the first step
    where the rows cannot be trained on, and as `fit` does; a KeyboardInterrupt passes through and leaves the checkpoints.
    """
    import torch

    start = time.monotonic()
    probe_threads()
    torch.manual_seed(settings.seed)
    loaded = load_weights(base, precision=settings.precision, compute=settings.compute)
    total = loaded.model.num_parameters()
    rows, dropped = encode(examples, ChatTokens(loaded.tokenizer), settings.row_tokens)
    sequences = pack(rows, settings.pack_tokens, settings.seed) if settings.pack_tokens else rows
    with quiet_libraries():
        trainer = _trainer(loaded, sequences, settings, run_folder)
        keep_gradients(trainer.model)
        _full_precision_adapter(trainer.model)
        run = _digest(settings, sequences, base)
        fit(trainer, run_folder, resume=resume, run=run, on_progress=on_progress, on_notice=on_notice)
        folder = save_half(trainer.model, run_folder / "adapter", base.id)
    losses = tuple((int(entry["step"]), float(entry["loss"])) for entry in loss_entries(trainer.state.log_history))
    tail = [loss for _, loss in losses[-max(1, len(losses) // 10) :]]
    epochs = float(trainer.state.epoch or 0.0)
    return TrainedAdapter(
        folder=folder,
        steps=int(trainer.state.global_step),
        epochs=epochs,
        tokens=round(epochs * sum(len(sequence["input_ids"]) for sequence in sequences)),
        seconds=time.monotonic() - start,
        final_loss=sum(tail) / len(tail),
        losses=losses,
        trainable_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        total_parameters=total,
        rows=len(rows),
        dropped=dropped,
        compute=loaded.compute,
    )


def _full_precision_adapter(model: Any) -> None:
    """Keep the trained weights in float32, whatever the base computes in: in bfloat16 a small update rounds to nothing.

    Autocast lowers them for each product, so peft need not raise the activations to float32 first.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False


def _digest(settings: SftSettings, rows: list[dict[str, list[int]]], base: Base) -> str:
    """What the run is made of; only how often it is saved may change on the way."""
    made_of = asdict(settings)
    del made_of["checkpoint_every"]
    return hashlib.sha256(json.dumps([made_of, rows, base.digest]).encode()).hexdigest()


def save_half(model: Any, folder: Path, base_id: str) -> Path:
    """Save the LoRA weights of a peft model as float16 safetensors with a plain adapter_config.json, without local paths."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model)
    tensors = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in state.items()}
    save_file(tensors, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    config = model.peft_config[model.active_adapter]
    config.inference_mode = True
    config.base_model_name_or_path = base_id
    config.save_pretrained(str(folder))
    return folder
