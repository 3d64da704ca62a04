"""Estimates what a training run needs before it starts: parameters, steps, memory and time, without loading weights.

Rows are read, rendered by the role's contract and tokenized as in training, so lengths and steps are those of the run. Only the
synthesizer's distractors are random instead of retrieved. Memory is that of the longest rows (`estimate_memory`), time that of
all (`estimate_time`). Writes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from lorag.pipeline.contracts import embed
from lorag.pipeline.engine.bases import tokenizer_place
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.engine.tokens import load_tokens
from lorag.pipeline.engine.weights import resolve_compute, resolve_device
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder, resolve_model
from lorag.training import processes
from lorag.training.data.negatives import Negatives
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.encoder_lora import has_bf16
from lorag.training.estimate_memory import EncoderPass, Memory, SftPass, SftSettings, contrastive_memory, sft_memory, show_size
from lorag.training.estimate_time import EFFICIENCY, Geometry, measure_rate, operations
from lorag.training.estimate_trace import Traced, trace_encoder, trace_generation
from lorag.training.losses import ROWS_AT_ONCE
from lorag.training.packing import IGNORED, Row, pack
from lorag.training.recipe import EmbeddingRecipe, GenerationRecipe, Recipe, SynthesizerRecipe, changed
from lorag.training.recipe_parts import Optimizer
from lorag.training.run import TrainingRun, examples_of, fitting, held_out_examples, held_out_split, read_config, subset
from lorag.training.sft import Example, encode


@dataclass(frozen=True, slots=True)
class Plan:
    """The estimate of a run. `recipe` is the job's, with batches cut to the given memory.

    `rows` are the units of a step, `batch` · `accumulate` of them: rows, packed sequences, or pairs of the embedder. The encoder
    reads `micro_batch` texts at a time (0: the whole batch). `tokens` are those of an epoch, without padding. `seconds` are
    computed from `rate`, in operations a second.
    """

    recipe: Recipe
    device: str
    compute: str
    rows: int
    dropped: tuple[str, ...]
    longest: int
    tokens: int
    steps: int
    batch: int
    accumulate: int
    micro_batch: int
    parameters: int
    trainable: int
    memory: Memory
    seconds: float
    rate: float

    @property
    def share(self) -> float:
        return self.trainable / self.parameters


def plan_training(job: TrainingRun, max_memory: int = 0) -> Plan:
    """The estimate of `job`; with `max_memory`, in bytes, its batches are split into parts that fit.

    A step's rows, and so the loss, stay the same. Raises as the run itself does for data that cannot be trained on, and
    TrainingError, with the smallest need, if nothing fits.
    """
    job.data.check_training(job.role)
    recipe = job.recipe
    if isinstance(recipe, EmbeddingRecipe):
        held_out_split(job.data, job.role)
        return _plan_encoder(job, recipe, max_memory)
    found = _RandomFinder(tuple(job.data.training_passages()) if isinstance(recipe, SynthesizerRecipe) else ())
    fitting(held_out_examples(job, found), job.base, job.data.folder)
    examples = subset(examples_of(job, "train", found), recipe)
    return plan_sft(examples, recipe, job.base, max_memory, device=job.base_device)


def plan_sft(
    examples: Sequence[Example], recipe: GenerationRecipe, base: str, max_memory: int = 0, *, device: str = "auto"
) -> Plan:
    """The estimate of a supervised run on these examples. Raises as `plan_training` does."""
    optimiser = recipe.optimiser
    device = resolve_device(processes.device(device))
    compute = resolve_compute(recipe.precision, recipe.compute, device)
    rows, dropped = encode(examples, load_tokens(base), optimiser.row_tokens)
    rows = pack(rows, optimiser.pack_tokens, optimiser.seed) if optimiser.pack_tokens else rows
    rows.sort(key=lambda row: -len(row["input_ids"]))
    lengths = [len(row["input_ids"]) for row in rows]
    folder = tokenizer_place(base)
    config = read_config(folder, f"base {base!r}")
    traced = trace_generation(folder, recipe.lora, lengths[0], compute, device)
    setting = memory_settings(recipe, compute, device, config)
    geometry = Geometry.of(config)

    def need(micro: int) -> Memory:
        return sft_memory(traced, SftPass(micro, scored(rows[:micro]), geometry.vocabulary), setting)

    whole = optimiser.batch_size * optimiser.accumulate
    micro = optimiser.batch_size
    if max_memory:
        micro = _largest([size for size in range(1, whole + 1) if whole % size == 0], need, max_memory)
    steps = optimiser.max_steps or ceil(optimiser.epochs * ceil(len(rows) / whole))
    targets = sum(label != IGNORED for row in rows for label in row["labels"])
    read = steps * whole / len(rows)
    flops = _operations(traced, geometry, lengths, targets, recomputed=setting.recomputed) * read
    rate = measure_rate(geometry, compute, device)
    return Plan(
        recipe=changed(recipe, batch_size=micro, accumulate=whole // micro),
        device=device,
        compute=compute,
        rows=len(rows),
        dropped=dropped,
        longest=lengths[0],
        tokens=sum(lengths),
        steps=steps,
        batch=micro,
        accumulate=whole // micro,
        micro_batch=micro,
        parameters=traced.parameters,
        trainable=traced.trainable,
        memory=need(micro),
        seconds=flops / (rate * EFFICIENCY[device.partition(":")[0]]),
        rate=rate,
    )


def memory_settings(recipe: GenerationRecipe, compute: str, device: str, config: Any) -> SftSettings:
    """The settings of the run of `recipe` that decide its memory."""
    on_cpu, optimiser = device == "cpu", recipe.optimiser
    recomputed = not on_cpu if optimiser.gradient_checkpointing == "auto" else optimiser.gradient_checkpointing
    eight_bit = not on_cpu if optimiser.algorithm is Optimizer.AUTO else optimiser.algorithm is not Optimizer.ADAMW
    return SftSettings(recipe.precision, compute, device, _stored(config), recomputed, eight_bit)


def scored(rows: Sequence[Row]) -> int:
    """The number of positions of a batch with logits: in all its rows, each column in which any row has a target."""
    columns = {place for row in rows for place, label in enumerate(row["labels"]) if label != IGNORED}
    return len(columns) * len(rows)


def _operations(traced: Traced, geometry: Geometry, lengths: Sequence[int], targets: float, *, recomputed: bool) -> float:
    """Floating-point operations of one epoch."""
    tokens = sum(lengths)
    mean = sum(length * length for length in lengths) / tokens  # the length of the row that a token is in
    return operations(traced, geometry, tokens=tokens, length=mean, scored=targets, recomputed=recomputed)


def _largest(sizes: Sequence[int], need: Any, max_memory: int) -> int:
    """The largest of the ascending sizes that fits. Raises TrainingError if none does."""
    for size in reversed(sizes):
        if need(size).total <= max_memory:
            return size
    least = need(sizes[0]).total
    raise TrainingError(
        f"nothing fits into {show_size(max_memory)}: with micro-batches of {sizes[0]} the run needs about {show_size(least)}; "
        "give it that, or lower max_length, pack_tokens or the rank"
    )


def _stored(config: Any) -> str:
    """The dtype of a model's files, by its config."""
    return str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class _RandomFinder:
    """Random passages without an encoder. Only their length counts here, and it is that of retrieved ones."""

    ids: tuple[str, ...]

    def find(self, questions: Sequence[str], k: int, *, training: bool) -> list[list[str]]:
        rng = random.Random(0)
        return [rng.sample(self.ids, min(k, len(self.ids))) for _ in questions]


def _plan_encoder(job: TrainingRun, recipe: EmbeddingRecipe, max_memory: int) -> Plan:
    optimiser, contrast, model = recipe.optimiser, recipe.contrast, job.encoder.model
    device = resolve_device(processes.device(job.encoder.device))
    compute = "bfloat16" if has_bf16(device.partition(":")[0]) else "float32"
    rows: Sequence[EmbedRow] = subset(list(job.data.embed_rows("train")), recipe)
    columns = columns_of(rows, list(job.data.training_passages().values()), model, recipe)
    pairs, longest = len(columns[0]), max(column[0] for column in columns)
    folder = str(resolve_model(model))
    config = read_config(folder, f"embedder {model!r}")
    geometry = Geometry.of(config)
    size = optimiser.batch_size
    group = min(ROWS_AT_ONCE, size)
    traced = trace_encoder(folder, recipe.lora, group, longest, compute)

    def need(micro: int) -> Memory:
        return encoder_need(traced, columns, group, longest, changed(recipe, micro_batch=micro), _stored(config), device)

    micro = contrast.micro_batch
    if max_memory and need(0).total > max_memory:
        if contrast.query_side_only:
            least = show_size(need(0).total)
            raise TrainingError(
                f"nothing fits into {show_size(max_memory)}: query_side_only reads its batch of {size} at once, "
                f"which needs about {least}; give it that, or lower batch_size or max_length"
            )
        micro = _largest([2**n for n in range(size.bit_length()) if 2**n < size], need, max_memory)
    epoch = ceil(pairs / size)
    steps = optimiser.max_steps or ceil(optimiser.epochs * epoch)
    lengths = [length for column in columns for length in column]
    recomputed = bool(micro) or optimiser.gradient_checkpointing is True
    flops = _operations(traced, geometry, lengths, 0, recomputed=recomputed) * steps / epoch
    rate = measure_rate(geometry, compute, device)
    return Plan(
        recipe=changed(recipe, micro_batch=micro),
        device=device,
        compute=compute,
        rows=pairs,
        dropped=(),
        longest=longest,
        tokens=sum(lengths),
        steps=steps,
        batch=size,
        accumulate=1,
        micro_batch=micro,
        parameters=traced.parameters,
        trainable=traced.trainable,
        memory=need(micro),
        seconds=flops / (rate * EFFICIENCY[device.partition(":")[0]]),
        rate=rate,
    )


def columns_of(rows: Sequence[EmbedRow], passages: Sequence[PassageRow], model: str, recipe: EmbeddingRecipe) -> list[list[int]]:
    """Lengths in tokens of the texts that the encoder reads, longest first: queries, their passages, a column a hard negative.

    Negatives are not mined yet, so the longest passages stand in for them. Raises TrainingError for an unknown passage.
    """
    from transformers import AutoTokenizer

    own = SentenceTransformerEmbedder(model).identity.max_length
    limits = [limit for limit in (recipe.optimiser.max_length, own) if limit]
    with quiet_libraries():
        tokenizer = AutoTokenizer.from_pretrained(str(resolve_model(model)), trust_remote_code=False)

    def count(text: str) -> int:
        length = len(tokenizer(text, truncation=False, verbose=False)["input_ids"])
        return min([length, *limits])

    lengths = {p.id: count(embed.passage_text(p.title, "", p.text)) for p in passages}
    unknown = next((p for row in rows for p in row.positive_ids if p not in lengths), None)
    if unknown is not None:
        raise TrainingError(f"passage {unknown!r} is not among the training passages; make both from the same documents")
    queries = [count(embed.query_text(row.query)) for row in rows for _ in row.positive_ids]
    if len(queries) < 2:
        raise TrainingError(f"{len(queries)} embedder rows: contrastive training needs at least two, each the other's negative")
    columns = [sorted(queries, reverse=True)]
    if recipe.contrast.query_side_only:
        return columns
    columns.append(sorted((lengths[p] for row in rows for p in row.positive_ids), reverse=True))
    if recipe.contrast.negatives is not Negatives.NONE:
        every = sorted(lengths.values(), reverse=True)
        columns += [[every[n % len(every)] for n in range(len(queries))] for _ in range(recipe.contrast.negatives_per_query)]
    return columns


def encoder_need(
    traced: Traced,
    columns: Sequence[Sequence[int]],
    group: int,
    longest: int,
    recipe: EmbeddingRecipe,
    stored: str,
    device: str,
) -> Memory:
    """The peak of a contrastive run whose batch holds the longest texts of each column.

    `traced` is of `group` texts of `longest` tokens.
    """
    size, micro = recipe.optimiser.batch_size, recipe.contrast.micro_batch
    if micro:
        tokens, passes = micro * longest, 1
    elif device == "cpu":
        groups = [column[start : min(start + group, size)] for column in columns for start in range(0, size, group)]
        tokens, passes = sum(len(g) * g[0] for g in groups if g), sum(map(bool, groups))
    else:
        tokens, passes = sum(len(column[:size]) * column[0] for column in columns), len(columns)
    reading = EncoderPass(tokens, passes, group * longest)
    recomputed = recipe.optimiser.gradient_checkpointing is True
    return contrastive_memory(traced, reading, stored=stored, device=device, recomputed=recomputed)
