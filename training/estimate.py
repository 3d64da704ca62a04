"""What a training run will need, before any of it is spent: parameters, steps, memory and time, without loading weights.

Rows are read, put through the role's contract and turned into tokens as training does, so lengths and steps are those of
the run; the synthesizer's distractors alone are drawn by chance instead of retrieved. Memory is that of the longest rows
(`estimate_memory`), time that of all (`estimate_time`). Writes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from lorag.pipeline.contracts import embed
from lorag.pipeline.engine.bases import tokenizer_place
from lorag.pipeline.engine.processor import compute_dtype, detect
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.engine.tokens import load_tokens
from lorag.pipeline.engine.weights import resolve_compute, resolve_device
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder, resolve_model
from lorag.training.contrastive import ContrastiveSettings
from lorag.training.data.negatives import Negatives
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.estimate_memory import Load, Memory, Reading, Setting, contrastive_memory, sft_memory, show_size
from lorag.training.estimate_time import EFFICIENCY, Geometry, measure_rate, operations
from lorag.training.estimate_trace import Traced, trace_encoder, trace_generation
from lorag.training.losses import ROWS_AT_ONCE
from lorag.training.packing import IGNORED, Row, pack
from lorag.training.recipe import ContrastRecipe, Recipe
from lorag.training.run import TrainingRun, examples_of, subset
from lorag.training.sft import Example, Optimizer, SftSettings, encode


@dataclass(frozen=True, slots=True)
class Plan:
    """A run as it would be. `recipe` is the one to train with: that of the job, its batches cut to the memory given.

    `rows` are what a step counts (`batch` · `accumulate` of them): rows, packed sequences, or pairs of the embedder, whose
    `micro_batch` (0: the whole batch) is what goes through the encoder at a time. `tokens` are those of an epoch, padding not
    counted. `seconds` rest on `rate`, operations a second.
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
    """What `job` will need; with `max_memory`, in bytes, its batches are read in parts that fit.

    A step's rows, and so the loss, stay the same. Raises as the run itself does for data that cannot be trained on, and
    TrainingError, naming the smallest need, where nothing fits.
    """
    job.data.check_leaks(job.role)
    return _plan_encoder(job, max_memory) if job.role is Role.EMBEDDER else _plan_generation(job, max_memory)


def _plan_generation(job: TrainingRun, max_memory: int) -> Plan:
    found = _ByChance(tuple(job.data.training_passages()) if job.role is Role.SYNTHESIZER else ())
    return plan_sft(subset(examples_of(job, "train", found), job.recipe), job.recipe, job.base, max_memory)


def plan_sft(examples: Sequence[Example], recipe: Recipe, base: str, max_memory: int = 0) -> Plan:
    """What a supervised run on these examples will need. Raises as `plan_training` does."""
    settings = recipe.sft()
    device = resolve_device("auto")
    compute = resolve_compute(settings.precision, settings.compute, device)
    rows, dropped = encode(examples, load_tokens(base), settings.row_tokens)
    rows = pack(rows, settings.pack_tokens, settings.seed) if settings.pack_tokens else rows
    rows.sort(key=lambda row: -len(row["input_ids"]))
    lengths = [len(row["input_ids"]) for row in rows]
    folder = tokenizer_place(base)
    config = _config(folder)
    traced = trace_generation(folder, settings.lora, lengths[0], compute, device)
    setting = setting_of(settings, compute, device, config)
    geometry = Geometry.of(config)

    def need(micro: int) -> Memory:
        return sft_memory(traced, Load(micro, scored(rows[:micro]), geometry.vocabulary), setting)

    whole = settings.batch_size * settings.accumulate
    micro = settings.batch_size
    if max_memory:
        micro = _largest([size for size in range(1, whole + 1) if whole % size == 0], need, max_memory)
    steps = settings.max_steps or ceil(settings.epochs * ceil(len(rows) / whole))
    targets = sum(label != IGNORED for row in rows for label in row["labels"])
    read = steps * whole / len(rows)
    flops = _operations(traced, geometry, lengths, targets, recomputed=setting.recomputed) * read
    rate = measure_rate(geometry, compute, device)
    optimiser = recipe.optimiser.model_copy(update={"batch_size": micro, "accumulate": whole // micro})
    return Plan(
        recipe=recipe.model_copy(update={"optimiser": optimiser}),
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


def setting_of(settings: SftSettings, compute: str, device: str, config: Any) -> Setting:
    """How the run of `settings` keeps things."""
    on_cpu = device == "cpu"
    recomputed = not on_cpu if settings.gradient_checkpointing is None else settings.gradient_checkpointing
    eight_bit = not on_cpu if settings.optimizer is Optimizer.AUTO else settings.optimizer is not Optimizer.ADAMW
    return Setting(settings.precision, compute, device, _stored(config), recomputed, eight_bit)


def scored(rows: Sequence[Row]) -> int:
    """Positions of a batch whose logits are computed: in all its rows, each column in which one has a target."""
    columns = {place for row in rows for place, label in enumerate(row["labels"]) if label != IGNORED}
    return len(columns) * len(rows)


def _operations(traced: Traced, geometry: Geometry, lengths: Sequence[int], targets: float, *, recomputed: bool) -> float:
    """Those of one epoch."""
    tokens = sum(lengths)
    mean = sum(length * length for length in lengths) / tokens  # the length of the row that a token is in
    return operations(traced, geometry, tokens=tokens, length=mean, scored=targets, recomputed=recomputed)


def _largest(sizes: Sequence[int], need: Any, max_memory: int) -> int:
    """The largest of the sizes, which rise, that fits. Raises TrainingError where none does."""
    for size in reversed(sizes):
        if need(size).total <= max_memory:
            return size
    least = need(sizes[0]).total
    raise TrainingError(
        f"nothing fits into {show_size(max_memory)}: with micro-batches of {sizes[0]} the run needs about {show_size(least)}; "
        "give it that, or lower max_length, pack_tokens or the rank"
    )


def _config(folder: str) -> Any:
    from transformers import AutoConfig

    with quiet_libraries():
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _stored(config: Any) -> str:
    """The dtype that a model's files hold, by its config."""
    return str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class _ByChance:
    """Passages without an encoder: as long as retrieved ones, which is what counts here."""

    ids: tuple[str, ...]

    def find(self, questions: Sequence[str], k: int, *, training: bool) -> list[list[str]]:
        rng = random.Random(0)
        return [rng.sample(self.ids, min(k, len(self.ids))) for _ in questions]


def _plan_encoder(job: TrainingRun, max_memory: int) -> Plan:
    settings = job.recipe.contrastive(job.embedder)
    device = resolve_device("auto")
    compute = compute_dtype(detect())
    rows: Sequence[EmbedRow] = subset(list(job.data.embed_rows("train")), job.recipe)
    columns = columns_of(rows, list(job.data.training_passages().values()), settings)
    pairs, longest = len(columns[0]), max(column[0] for column in columns)
    folder = str(resolve_model(job.embedder))
    config = _config(folder)
    geometry = Geometry.of(config)
    group = min(ROWS_AT_ONCE, settings.batch_size)
    traced = trace_encoder(folder, settings.lora, group, longest, compute)

    def need(micro: int) -> Memory:
        return encoder_need(traced, columns, group, longest, replace(settings, micro_batch=micro), _stored(config), device)

    micro = settings.micro_batch
    if max_memory and need(0).total > max_memory:
        if settings.query_side_only:
            least = show_size(need(0).total)
            raise TrainingError(
                f"nothing fits into {show_size(max_memory)}: query_side_only reads its batch of {settings.batch_size} at once, "
                f"which needs about {least}; give it that, or lower batch_size or max_length"
            )
        micro = _largest([2**n for n in range(settings.batch_size.bit_length()) if 2**n < settings.batch_size], need, max_memory)
    steps = settings.max_steps or ceil(settings.epochs * ceil(pairs / settings.batch_size))
    lengths = [length for column in columns for length in column]
    flops = (
        _operations(traced, geometry, lengths, 0, recomputed=bool(micro) or settings.gradient_checkpointing)
        * steps
        * settings.batch_size
        / pairs
    )
    rate = measure_rate(geometry, compute, device)
    return Plan(
        recipe=_with_micro_batch(job.recipe, micro),
        device=device,
        compute=compute,
        rows=pairs,
        dropped=(),
        longest=longest,
        tokens=sum(lengths),
        steps=steps,
        batch=settings.batch_size,
        accumulate=1,
        micro_batch=micro,
        parameters=traced.parameters,
        trainable=traced.trainable,
        memory=need(micro),
        seconds=flops / (rate * EFFICIENCY[device.partition(":")[0]]),
        rate=rate,
    )


def columns_of(rows: Sequence[EmbedRow], passages: Sequence[PassageRow], settings: ContrastiveSettings) -> list[list[int]]:
    """Lengths in tokens of what the encoder reads, longest first: queries, their passages, and a column a hard negative.

    Negatives are not mined yet, so theirs are the passages' own, the longest first. Raises TrainingError for an unknown passage.
    """
    from transformers import AutoTokenizer

    model = SentenceTransformerEmbedder(settings.model)
    limits = [limit for limit in (settings.max_length, model.identity.max_length) if limit]
    with quiet_libraries():
        tokenizer = AutoTokenizer.from_pretrained(str(resolve_model(settings.model)), trust_remote_code=False)

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
    if settings.query_side_only:
        return columns
    columns.append(sorted((lengths[p] for row in rows for p in row.positive_ids), reverse=True))
    if settings.negatives is not Negatives.NONE:
        every = sorted(lengths.values(), reverse=True)
        columns += [[every[n % len(every)] for n in range(len(queries))] for _ in range(settings.negatives_per_query)]
    return columns


def encoder_need(
    traced: Traced,
    columns: Sequence[Sequence[int]],
    group: int,
    longest: int,
    settings: ContrastiveSettings,
    stored: str,
    device: str,
) -> Memory:
    """The peak of a contrastive run whose batch holds the longest texts of each column; `traced` is of `group` of `longest`."""
    size = settings.batch_size
    if settings.micro_batch:
        tokens, passes = settings.micro_batch * longest, 1
    elif device == "cpu":
        groups = [column[start : min(start + group, size)] for column in columns for start in range(0, size, group)]
        tokens, passes = sum(len(g) * g[0] for g in groups if g), sum(map(bool, groups))
    else:
        tokens, passes = sum(len(column[:size]) * column[0] for column in columns), len(columns)
    reading = Reading(tokens, passes, group * longest)
    return contrastive_memory(traced, reading, stored=stored, device=device, recomputed=settings.gradient_checkpointing)


def _with_micro_batch(recipe: Recipe, micro: int) -> Recipe:
    if not micro:
        return recipe
    contrast = recipe.contrast or ContrastRecipe()
    return recipe.model_copy(update={"contrast": contrast.model_copy(update={"micro_batch": micro})})
