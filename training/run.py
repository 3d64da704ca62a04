"""One way to train each role: a data folder and a recipe in, a published candidate out.

The order is always the same: leak check, rows to examples, training with checkpoints, canaries on held-out rows, card,
registry. Knows no settings file and no terminal.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lorag.pipeline.adapters.card import DataFacts
from lorag.pipeline.adapters.registry import PRODUCTION, Registry, Version
from lorag.pipeline.contracts import embed
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.searching import Embedded, search
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.training import processes
from lorag.training.contrastive import train_embedder
from lorag.training.data.rows import EmbedRow, PassageRow, QuestionRow
from lorag.training.dataset import PASSAGES, DataFolder, judge_schemas
from lorag.training.dev_metric import answer_dev, drawn_questions, judge_dev, rewrite_dev
from lorag.training.early_stopping import DevSet
from lorag.training.examples import judge_examples, mix, rewrite_examples, support_examples, synthesize_examples
from lorag.training.memory import release_memory
from lorag.training.parent import Beginning, agreed, changes_since, require_base
from lorag.training.progress import Progress
from lorag.training.publish import CANARY_SAMPLES, data_facts, publish_embedder, publish_generation
from lorag.training.recipe import Recipe
from lorag.training.retrieval_dev import RetrievalDev, retrieval_dev
from lorag.training.sft import Example, SftSettings, TrainedAdapter, train_adapter

GOLD_ROOM = 6
"""Nearest passages kept per question beyond `k`: room for `k` distractors after the gold ones are taken out."""

T = TypeVar("T")
Notice = Callable[[str], None]
Rank = Callable[[Sequence[QuestionRow], Mapping[str, PassageRow], str, int], dict[str, list[str]]]


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What `train_role` works with."""

    role: Role
    data: DataFolder
    recipe: Recipe
    base: str
    embedder: str
    registry: Registry
    run_folder: Path
    k: int
    resume: bool
    on_progress: Callable[[Progress], None] | None
    on_notice: Notice | None
    beginning: Beginning | None


def train_role(
    role: Role,
    *,
    data: Path,
    recipe: Recipe,
    base: str,
    embedder: str,
    registry: Registry,
    run_folder: Path,
    k: int,
    intents: Mapping[str, str],
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Notice | None = None,
    beginning: Beginning | None = None,
) -> Version:
    """Train the adapter of `role` on `data`/train and publish it as `candidate`, beginning anew or with another adapter.

    `k` is the number of passages that the synthesizer sees when serving; `embedder` names the encoder that finds its
    distractors, and the one that is tuned for the embedder role. With `resume` the run goes on from its newest complete
    checkpoint. Several processes that `accelerate launch` started do the run together; the first one publishes.

    Raises DataError, TrainingError, BaseError, AdapterError; a KeyboardInterrupt leaves the checkpoints.
    """
    processes.join()
    run_folder = processes.first_does(lambda: run_folder)
    folder = DataFolder(data, intents)
    folder.check_leaks(role)
    if on_notice is not None and processes.is_first():
        for line in folder.repeats(role):
            on_notice(line)
    if beginning is not None:
        recipe = agreed(recipe, beginning.start)
    job = TrainingRun(role, folder, recipe, base, embedder, registry, run_folder, k, resume, on_progress, on_notice, beginning)
    version = _train_embedder(job) if role is Role.EMBEDDER else _train_generation(job)
    release_memory()
    return version


def held_out_split(data: DataFolder, role: Role) -> str:
    """The split that canaries come from. Raises DataError where there is neither dev nor test data."""
    for split in ("dev", "test"):
        if data.has(split, role):
            return split
    raise DataError(f"no dev/{role.value}.jsonl in {data.folder}; a few held-out rows are needed to prove the adapter's effect")


def _train_generation(job: TrainingRun) -> Version:
    held = held_out_split(job.data, job.role)
    held_out = examples_of(job, held, limit=CANARY_SAMPLES)
    if not held_out:
        raise DataError(
            f"{held}/{job.role.value}.jsonl in {job.data.folder} has no row to prove the adapter's effect on; "
            "the rewriter's need a history"
        )
    examples = subset(examples_of(job, "train"), job.recipe)
    settings = job.recipe.sft()
    processes.first_does(lambda: resolve_base(job.base))  # it may have to be converted first
    base = resolve_base(job.base)
    if job.beginning is not None:
        require_base(job.beginning.start, base)
    trained = train_adapter(
        examples,
        base,
        settings,
        job.run_folder,
        parent=job.beginning.start.folder if job.beginning else None,
        dev=_dev(job),
        resume=job.resume,
        on_progress=job.on_progress,
        on_notice=job.on_notice,
    )
    return processes.first_does(lambda: _publish(job, base, settings, trained, held_out))


def _dev(job: TrainingRun) -> DevSet | None:
    """The dev items that the run is stopped by; None where the recipe does not ask for it. They are no test items."""
    if (dev := job.recipe.dev) is None:
        return None
    seed = job.recipe.optimiser.seed
    if job.role is Role.REWRITER:
        return rewrite_dev(job.data.rewrites("dev"), dev.items, dev.metric, seed)
    if job.role is Role.JUDGE:
        return judge_dev(job.data.judgments("dev"), judge_schemas(job.data.intents), dev.items, dev.metric, seed)
    questions, passages = drawn_questions(job.data.questions("dev"), dev.items, seed), job.data.passages()
    rankings = processes.first_does(lambda: rank_passages(questions, passages, job.embedder, job.k + GOLD_ROOM))
    return answer_dev(questions, passages, rankings, job.k, dev.metric)


def _publish(
    job: TrainingRun, base: Base, settings: SftSettings, trained: TrainedAdapter, held_out: Sequence[Example]
) -> Version:
    parent = changes_since(job.beginning, job.role, base, settings, trained) if job.beginning else None
    facts = _facts(job, trained.rows)
    return publish_generation(job.registry, job.role, base, settings, trained, facts, held_out, parent=parent)


def _train_embedder(job: TrainingRun) -> Version:
    held = held_out_split(job.data, Role.EMBEDDER)
    rows: Sequence[EmbedRow] = subset(list(job.data.embed_rows("train")), job.recipe)
    settings, dev = job.recipe.contrastive(job.embedder), _retrieval_dev(job)
    if dev is None and settings.stopping is not None and job.on_notice:
        job.on_notice(f"no dev/embedder.jsonl in {job.data.folder}: the run goes to its end, and its last step is published")
    passages = list(job.data.training_passages().values())
    trained = train_embedder(
        rows,
        passages,
        settings,
        job.run_folder,
        dev=dev,
        miner=_serving_encoder(job),
        resume=job.resume,
        on_progress=job.on_progress,
        on_notice=job.on_notice,
    )
    questions = [row.query for row in job.data.embed_rows(held)]
    return processes.first_does(lambda: publish_embedder(job.registry, settings, trained, _facts(job, trained.pairs), questions))


def _retrieval_dev(job: TrainingRun) -> RetrievalDev | None:
    """The dev questions that the recipe stops by, ranked among their own passages and those of training; None without any."""
    wanted = job.recipe.dev
    if wanted is None or not job.data.has("dev", Role.EMBEDDER):
        return None
    rows = job.data.embed_rows("dev")
    passages, known = job.data.training_passages(), job.data.passages()
    passages |= {id_: known[id_] for row in rows for id_ in row.positive_ids if id_ in known}
    return retrieval_dev(rows, passages, wanted.items, wanted.metric, job.recipe.optimiser.seed)


def _serving_encoder(job: TrainingRun) -> SentenceTransformerEmbedder | None:
    """The encoder of the current index, hard negatives are mined from: with the embedder adapter in production, if it is of the
    model that is tuned now. None: the bare model."""
    version = job.registry.aliases(Role.EMBEDDER).get(PRODUCTION)
    if version is None:
        return None
    identity = job.registry.show(Role.EMBEDDER, version).identity
    if identity.base_digest != SentenceTransformerEmbedder(job.embedder).identity.model_digest:
        return None
    folder = job.registry.resolve(Role.EMBEDDER, version).folder
    return SentenceTransformerEmbedder(job.embedder, adapter=folder, query_side_only=identity.query_side_only)


def subset(rows: list[T], recipe: Recipe, limit: int = 0) -> list[T]:
    """At most `limit` (0: the recipe's `data.max_rows`) of the rows, drawn with the recipe's seed."""
    limit = limit or recipe.data.max_rows
    if not limit or len(rows) <= limit:
        return rows
    return random.Random(recipe.optimiser.seed).sample(rows, limit)


def examples_of(job: TrainingRun, split: str, limit: int | None = None, rank: Rank | None = None) -> list[Example]:
    """The examples of `split`, at most the first `limit`. `rank` finds the synthesizer's passages instead of `rank_passages`."""
    if job.role is Role.REWRITER:
        return rewrite_examples(job.data.rewrites(split))[:limit]
    if job.role is Role.JUDGE:
        rows = job.data.judgments(split)
        if split != "train":
            return judge_examples(rows[:limit], judge_schemas(job.data.intents))
        mixed = mix(rows, job.recipe.data.mixture, job.recipe.optimiser.seed)
        return judge_examples(mixed, judge_schemas(job.data.intents)) + _support(job)
    questions = job.data.questions(split)[:limit]
    passages = job.data.training_passages() if split == "train" else job.data.passages()
    return synthesize_examples(
        questions,
        passages,
        processes.first_does(lambda: (rank or rank_passages)(questions, passages, job.embedder, job.k + GOLD_ROOM)),
        k=job.k,
        missing_gold=job.recipe.data.missing_gold,
        shuffled=job.recipe.data.shuffled,
        seed=job.recipe.optimiser.seed,
    )


def _support(job: TrainingRun) -> list[Example]:
    """Support judgments made of answered training questions, where there are any."""
    limit = job.recipe.data.answered_support
    if not limit or not job.data.has("train", Role.SYNTHESIZER):
        return []
    passages = job.data.training_passages()
    return support_examples(job.data.questions("train"), passages, limit=limit, seed=job.recipe.optimiser.seed)


def rank_passages(
    questions: Sequence[QuestionRow], passages: Mapping[str, PassageRow], embedder: str, count: int
) -> dict[str, list[str]]:
    """Row id → ids of the `count` passages nearest to its question by the frozen encoder `embedder`, best first."""
    encoder = SentenceTransformerEmbedder(embedder)
    matrix = encoder.embed_passages([embed.passage_text(p.title, "", p.text) for p in passages.values()])
    queries = encoder.embed_queries([embed.query_text(q.standalone or q.question) for q in questions])
    found = search(Embedded([q.id for q in questions], queries, list(passages), matrix), count)
    return {id_: [scored.passage_id for scored in ranking] for id_, ranking in found.items()}


def _facts(job: TrainingRun, rows: int) -> DataFacts:
    files = {f"train/{job.role.value}.jsonl": job.data.file("train", job.role)}
    if job.role in (Role.SYNTHESIZER, Role.EMBEDDER):
        files[PASSAGES] = job.data.folder / PASSAGES
    return data_facts(job.data.folder.name, files, {"train": rows}, rows)
