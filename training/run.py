"""Trains the adapter of any role: from a data folder and a recipe to a published candidate.

The order is always the same: leak check, rows to examples, training with checkpoints, canaries on held-out rows, card,
registry. Knows no settings file and no terminal.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lorag.pipeline.adapters.card import DataFacts
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.engine.bases import Base, resolve_base, tokenizer_place
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.engine.tokens import load_tokens
from lorag.pipeline.errors import BaseError, DataError, IdentityMismatch, TrainingError
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.embedder import Embedder
from lorag.training import processes
from lorag.training.contrastive import Encoder, train_embedder
from lorag.training.data.rows import EmbedRow
from lorag.training.dataset import PASSAGES, DataFolder, judge_schemas
from lorag.training.dev_metric import answer_dev, judge_dev, rewrite_dev, sample_questions
from lorag.training.early_stopping import DevSet
from lorag.training.examples import judge_examples, mix, rank_for, rewrite_examples, support_examples, synthesize_examples
from lorag.training.memory import release_memory
from lorag.training.parent import Continuation, agreed, changes_since, require_base
from lorag.training.passage_search import PassageFinder, PassageSearch, Retrieval
from lorag.training.progress import Progress
from lorag.training.publish import CANARY_SAMPLES, data_facts, engine_for, publish_embedder, publish_generation
from lorag.training.recipe import EmbeddingRecipe, GenerationRecipe, JudgeRecipe, Recipe, SynthesizerRecipe, seeded
from lorag.training.retrieval_dev import RetrievalDev, retrieval_dev
from lorag.training.row_notices import notices
from lorag.training.sft import Example, TrainedAdapter, train_adapter

T = TypeVar("T")
Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The inputs of a training run. `encoder` is the model that the embedder role tunes."""

    role: Role
    data: DataFolder
    recipe: Recipe
    base: str
    base_device: str
    encoder: Encoder
    registry: Registry
    run_folder: Path
    retrieval: Retrieval
    resume: bool
    on_progress: Callable[[Progress], None] | None
    on_notice: Notice | None
    continuation: Continuation | None


def train_role(
    role: Role,
    *,
    data: Path,
    recipe: Recipe,
    base: str,
    embedder: str,
    registry: Registry,
    run_folder: Path,
    retrieval: Retrieval,
    intents: Mapping[str, str],
    base_device: str = "auto",
    embedder_device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Notice | None = None,
    continuation: Continuation | None = None,
) -> Version:
    """Train the adapter of `role` on `data`/train and publish it as `candidate`, from scratch or from another adapter.

    `embedder` names the model that is tuned for the embedder role. `retrieval` is how the project retrieves: it finds the
    synthesizer's passages, and its encoder the embedder's hard negatives. `seed` is for a recipe that sets none. With
    `resume` the run continues from its newest complete checkpoint. Several processes started by `accelerate launch` train
    together; the first one publishes.

    Raises DataError, TrainingError, BaseError, AdapterError; a KeyboardInterrupt leaves the checkpoints.
    """
    processes.join(embedder_device if role is Role.EMBEDDER else base_device)
    run_folder = processes.run_on_first(lambda: run_folder)
    folder = DataFolder(data, intents)
    folder.check_training(role)
    if on_notice is not None and processes.is_first():
        for line in notices(folder, role):
            on_notice(line)
    recipe = seeded(recipe if continuation is None else agreed(recipe, continuation.start), seed)
    job = TrainingRun(
        role=role,
        data=folder,
        recipe=recipe,
        base=base,
        base_device=base_device,
        encoder=Encoder(embedder, embedder_device),
        registry=registry,
        run_folder=run_folder,
        retrieval=retrieval,
        resume=resume,
        on_progress=on_progress,
        on_notice=on_notice,
        continuation=continuation,
    )
    version = _train_embedder(job, recipe) if isinstance(recipe, EmbeddingRecipe) else _train_generation(job, recipe)
    release_memory()
    return version


def held_out_split(data: DataFolder, role: Role) -> str:
    """The split that canaries come from. Raises DataError if there is neither dev nor test data."""
    for split in ("dev", "test"):
        if data.has(split, role):
            return split
    data.require()
    raise DataError(f"no dev/{role.value}.jsonl in {data.folder}; a few held-out rows are needed to prove the adapter's effect")


def _train_generation(job: TrainingRun, recipe: GenerationRecipe) -> Version:
    with passage_search(job) as search:
        held_out = held_out_examples(job, search)
        examples, dev = subset(examples_of(job, "train", search), recipe), _dev(job, search)
    processes.run_on_first(lambda: resolve_base(job.base))  # it may have to be converted first
    base = resolve_base(job.base)
    if job.continuation is not None:
        require_base(job.continuation.start, base)
    held_out = fitting(held_out, job.base, job.data.folder)
    trained = train_adapter(
        examples,
        base,
        recipe,
        job.run_folder,
        device=job.base_device,
        parent=job.continuation.start.folder if job.continuation else None,
        dev=dev,
        resume=job.resume,
        keep_base=True,
        on_progress=job.on_progress,
        on_notice=job.on_notice,
    )
    release_memory()  # of the optimizer and the trainer
    return processes.run_on_first(lambda: _publish(job, base, recipe, trained, held_out))


def passage_search(job: TrainingRun) -> PassageSearch:
    """The search that finds the synthesizer's passages; one over nothing for the other roles. Use it in a `with` statement."""
    if job.role is not Role.SYNTHESIZER:
        return PassageSearch({}, job.retrieval)
    passages, learnt = job.data.passages(), job.data.training_passages()
    return PassageSearch(passages, job.retrieval, passages.keys() - learnt.keys())


def held_out_examples(job: TrainingRun, search: PassageFinder) -> list[Example]:
    """The examples that canaries are recorded on. Raises DataError if there is none."""
    split = held_out_split(job.data, job.role)
    found = examples_of(job, split, search, limit=CANARY_SAMPLES)
    if not found:
        raise DataError(
            f"{split}/{job.role.value}.jsonl in {job.data.folder} has no row to prove the adapter's effect on; "
            "the rewriter's need a history"
        )
    return found


def fitting(held_out: Sequence[Example], base: str, folder: Path) -> list[Example]:
    """Those of the examples that fit the base's context. Raises DataError, with the first one's name, if none does."""
    limit, tokens = context_of(base), load_tokens(base)
    lengths = [len(tokens.prompt(each.messages)) + len(tokens.reply(each.target)) for each in held_out]
    found = [each for each, length in zip(held_out, lengths, strict=True) if length <= limit]
    if not found:
        raise DataError(
            f"{folder}: none of the {len(held_out)} held-out rows to prove the adapter's effect on fits the {limit} tokens of "
            f"{base}; {held_out[0].id} has {lengths[0]}: add shorter rows to dev"
        )
    return found


def context_of(base: str) -> int:
    """The tokens that the base reads at most. Raises BaseError if its configuration cannot be read."""
    return int(getattr(read_config(tokenizer_place(base), f"base {base!r}"), "max_position_embeddings", 2048))


def read_config(place: str, name: str) -> Any:
    """The configuration of the model at `place`, without its weights. Raises BaseError, which calls the model `name`."""
    from transformers import AutoConfig

    try:
        with quiet_libraries():
            return AutoConfig.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # the library raises whatever a damaged or unknown configuration leads to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BaseError(f"{name}: its config.json cannot be used ({reason}); save the model anew, or name another") from error


def _dev(job: TrainingRun, search: PassageFinder) -> DevSet | None:
    """The dev items for early stopping, never test items; None if the recipe has no `dev`."""
    if (dev := job.recipe.dev) is None:
        return None
    seed = job.recipe.optimiser.seed
    if job.role is Role.REWRITER:
        return rewrite_dev(job.data.rewrites("dev"), dev.items, dev.metric, seed)
    if job.role is Role.JUDGE:
        return judge_dev(job.data.judgments("dev"), judge_schemas(job.data.intents), dev.items, dev.metric, seed)
    questions, passages = sample_questions(job.data.questions("dev"), dev.items, seed), job.data.passages()
    k = job.retrieval.k
    rankings = processes.run_on_first(lambda: rank_for(questions, search, k, training=False))
    return answer_dev(questions, passages, rankings, k, dev.metric)


def _publish(
    job: TrainingRun, base: Base, recipe: GenerationRecipe, trained: TrainedAdapter, held_out: Sequence[Example]
) -> Version:
    engine = engine_for(trained, base, recipe, job.base_device)
    parent = changes_since(job.continuation, job.role, engine, trained) if job.continuation else None
    facts = _facts(job, trained.rows)
    return publish_generation(job.registry, job.role, base, recipe, trained, facts, held_out, engine=engine, parent=parent)


def _train_embedder(job: TrainingRun, recipe: EmbeddingRecipe) -> Version:
    split = held_out_split(job.data, Role.EMBEDDER)
    rows: Sequence[EmbedRow] = subset(list(job.data.embed_rows("train")), recipe)
    dev = _retrieval_dev(job)
    if dev is None and recipe.dev is not None and job.on_notice:
        job.on_notice(f"no dev/embedder.jsonl in {job.data.folder}: the run goes to its end, and its last step is published")
    passages = list(job.data.training_passages().values())
    trained = train_embedder(
        rows,
        passages,
        job.encoder,
        recipe,
        job.run_folder,
        dev=dev,
        miner=_miner(job, recipe),
        resume=job.resume,
        on_progress=job.on_progress,
        on_notice=job.on_notice,
    )
    questions = [row.query for row in job.data.embed_rows(split)]
    return processes.run_on_first(
        lambda: publish_embedder(job.registry, job.encoder, recipe, trained, _facts(job, trained.pairs), questions)
    )


def _retrieval_dev(job: TrainingRun) -> RetrievalDev | None:
    """The dev questions for early stopping, searched in their own and the training passages; None if there are none."""
    wanted = job.recipe.dev
    if wanted is None or not job.data.has("dev", Role.EMBEDDER):
        return None
    rows = job.data.embed_rows("dev")
    passages, known = job.data.training_passages(), job.data.passages()
    passages |= {id_: known[id_] for row in rows for id_ in row.positive_ids if id_ in known}
    return retrieval_dev(rows, passages, wanted.items, wanted.metric, job.recipe.optimiser.seed)


def _miner(job: TrainingRun, recipe: EmbeddingRecipe) -> Embedder | None:
    """The encoder that serves, for mining hard negatives. None means the bare model, or that none are mined.

    It is None too if the serving adapter is for another model, as after a change of `embedder.model`.
    """
    if not recipe.contrast.mines:
        return None
    try:
        serving = job.retrieval.open_embedder()
    except IdentityMismatch as error:
        if job.on_notice is not None:
            job.on_notice(f"hard negatives are mined by the bare {job.encoder.model}: {error}")
        return None
    return serving if serving.identity.adapter_digest else None


def subset(rows: list[T], recipe: Recipe, limit: int = 0) -> list[T]:
    """At most `limit` (0: the recipe's `data.max_rows`) of the rows, drawn with the recipe's seed."""
    limit = limit or recipe.data.max_rows
    if not limit or len(rows) <= limit:
        return rows
    return random.Random(recipe.optimiser.seed).sample(rows, limit)


def examples_of(job: TrainingRun, split: str, search: PassageFinder, limit: int | None = None) -> list[Example]:
    """The examples of `split`, at most the first `limit`. `search` finds the synthesizer's passages."""
    if job.role is Role.REWRITER:
        return rewrite_examples(job.data.rewrites(split))[:limit]
    if isinstance(job.recipe, JudgeRecipe):
        rows = job.data.judgments(split)
        if split != "train":
            return judge_examples(rows[:limit], judge_schemas(job.data.intents))
        mixed = mix(rows, job.recipe.data.mixture, job.recipe.optimiser.seed)
        return judge_examples(mixed, judge_schemas(job.data.intents)) + _support(job, job.recipe)
    if not isinstance(job.recipe, SynthesizerRecipe):
        raise TrainingError(f"a recipe of the {job.recipe.role} makes no examples of the {job.role.value}")
    questions, training = job.data.questions(split)[:limit], split == "train"
    passages = job.data.training_passages() if training else job.data.passages()
    k, share, seed = job.retrieval.k, job.recipe.data.missing_gold, job.recipe.optimiser.seed
    rankings = processes.run_on_first(lambda: rank_for(questions, search, k, training=training, missing_gold=share, seed=seed))
    return synthesize_examples(
        questions, passages, rankings, k=k, missing_gold=share, shuffled=job.recipe.data.shuffled, seed=seed
    )


def _support(job: TrainingRun, recipe: JudgeRecipe) -> list[Example]:
    """Support judgments made of answered training questions, if there are any."""
    limit = recipe.data.answered_support
    if not limit or not job.data.has("train", Role.SYNTHESIZER):
        return []
    passages = job.data.training_passages()
    return support_examples(job.data.questions("train"), passages, limit=limit, seed=recipe.optimiser.seed)


def _facts(job: TrainingRun, rows: int) -> DataFacts:
    files = {f"train/{job.role.value}.jsonl": job.data.file("train", job.role)}
    if job.role in (Role.SYNTHESIZER, Role.EMBEDDER):
        files[PASSAGES] = job.data.folder / PASSAGES
    return data_facts(job.data.folder.name, files, {"train": rows}, rows)
