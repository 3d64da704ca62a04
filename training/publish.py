"""A trained adapter folder → a published version: records canaries, writes the card, adds it to the registry. Trains nothing."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

from lorag.pipeline.adapters.canaries import CANARY_FILE, Canary, EmbedCanary, canaries_json
from lorag.pipeline.adapters.card import (
    FORMAT,
    PLAIN_LORA,
    AdapterCard,
    DataFacts,
    Identity,
    LoraFacts,
    LoraKind,
    Parent,
    TrainingFacts,
    now_utc,
)
from lorag.pipeline.adapters.inspection import inspect_folder
from lorag.pipeline.adapters.proof import CanarySample, record_canaries, record_embed_canaries
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.local import LocalEngine, open_engine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.records import Role
from lorag.pipeline.storage.digests import file_digest
from lorag.training.contrastive import Encoder, TrainedEmbedder
from lorag.training.recipe import EmbeddingRecipe, GenerationRecipe, Recipe
from lorag.training.recipe_parts import GenerationLora, Init, LoraShape
from lorag.training.sft import Example, TrainedAdapter

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "trl", "sentence-transformers")
CANARY_SAMPLES = 12
"""Held-out prompts measured; those with the largest difference between adapter and base become canaries."""


def library_versions() -> dict[str, str]:
    """Name → installed version of the libraries that decide the results."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def data_facts(name: str, files: Mapping[str, Path], splits: Mapping[str, int], rows: int) -> DataFacts:
    """The data facts of a run for its card; the keys of `files` are the names on the card."""
    return DataFacts(name, rows, {key: file_digest(path) for key, path in files.items()}, dict(splits))


def engine_for(trained: TrainedAdapter, base: Base, recipe: GenerationRecipe, device: str = "auto") -> LocalEngine:
    """An engine on the base that trained, if the result holds it, else on a newly loaded one."""
    loaded = trained.base or load_weights(base, precision=recipe.precision, compute=recipe.compute, device=device)
    return open_engine(loaded)


def publish_generation(
    registry: Registry,
    role: Role,
    base: Base,
    recipe: GenerationRecipe,
    trained: TrainedAdapter,
    data: DataFacts,
    held_out: Sequence[Example],
    *,
    engine: LocalEngine | None = None,
    notes: str = "",
    parent: Parent | None = None,
) -> Version:
    """Publish a generation adapter as `candidate`.

    Canaries are recorded on `held_out`, examples that were not trained on, with `engine`, which has this base and no adapters. By
    default an engine is opened here. Raises NoEffect if the adapter does not change those replies, AdapterError if the registry
    refuses it.
    """
    samples = [CanarySample(example.messages, example.target) for example in held_out[:CANARY_SAMPLES]]
    engine = engine or engine_for(trained, base, recipe)
    engine.load_adapter("trained", trained.folder)
    write_canaries(trained.folder, record_canaries(engine, "trained", samples))
    identity = Identity(
        base=base.id,
        base_digest=base.digest,
        weights_digest=inspect_folder(trained.folder).weights_digest,
        contract_hash=contract_hash(role),
        pooling="",
        precision=_precision(recipe.precision, trained.compute),
        query_side_only=False,
    )
    batch = recipe.optimiser.batch_size * recipe.optimiser.accumulate
    training = _training(recipe, trained, "SFT (trl), loss on the reply only", batch)
    training = dataclasses.replace(training, template_date=engine.tokens.template_date)
    lora = _lora(recipe.lora, trained.trainable_parameters, trained.total_parameters)
    card = dataclasses.replace(_card(role, identity, lora, data, training, notes), parent=parent)
    return registry.publish(role, trained.folder, card)


def publish_embedder(
    registry: Registry,
    encoder: Encoder,
    recipe: EmbeddingRecipe,
    trained: TrainedEmbedder,
    data: DataFacts,
    held_out: Sequence[str],
    *,
    notes: str = "",
) -> Version:
    """Publish an embedder adapter as `candidate`. Canaries are recorded on `held_out`, questions that were not trained on.

    Raises NoEffect if the adapter does not change their vectors, AdapterError if the registry refuses it.
    """
    query_side_only = recipe.contrast.query_side_only
    bare = encoder.open()
    tuned = encoder.open(adapter=trained.folder, query_side_only=query_side_only)
    write_canaries(trained.folder, record_embed_canaries(tuned, bare, list(held_out[:CANARY_SAMPLES])))
    found = tuned.identity
    identity = Identity(
        base=encoder.model,
        base_digest=found.model_digest,
        weights_digest=inspect_folder(trained.folder).weights_digest,
        contract_hash=contract_hash(Role.EMBEDDER),
        pooling=found.pooling,
        precision="float32",
        query_side_only=query_side_only,
    )
    side = "query side only" if query_side_only else "two-tower"
    training = _training(recipe, trained, f"contrastive (sentence-transformers), {side}", recipe.optimiser.batch_size)
    lora = _lora(recipe.lora, trained.trainable_parameters, trained.total_parameters - trained.trainable_parameters)
    return registry.publish(Role.EMBEDDER, trained.folder, _card(Role.EMBEDDER, identity, lora, data, training, notes))


def _card(role: Role, identity: Identity, lora: LoraFacts, data: DataFacts, training: TrainingFacts, notes: str) -> AdapterCard:
    """A card before publication: no version yet, and no evidence."""
    return AdapterCard(
        format=FORMAT,
        role=role,
        version="",
        created=now_utc(),
        identity=identity,
        lora=lora,
        data=data,
        training=training,
        libraries=library_versions(),
        evidence=(),
        licence="",
        notes=notes,
    )


def _training(recipe: Recipe, trained: TrainedAdapter | TrainedEmbedder, method: str, batch: int) -> TrainingFacts:
    return TrainingFacts(
        method=method,
        steps=trained.steps,
        epochs=round(trained.epochs, 3),
        tokens=trained.tokens,
        seconds=round(trained.seconds, 1),
        learning_rate=recipe.optimiser.learning_rate,
        batch=batch,
        seed=recipe.optimiser.seed,
        final_loss=trained.final_loss,
        dev=dict(trained.dev),
    )


def _precision(precision: Precision, compute: str) -> str:
    return f"{precision.value}/{compute}" if precision in (Precision.NF4, Precision.INT8) else compute


def _lora(shape: LoraShape, trained: int, base: int) -> LoraFacts:
    """LoRA facts by the recipe. The registry adds facts of the files, such as the invocation tokens."""
    targets = (shape.targets,) if isinstance(shape.targets, str) else shape.targets
    init = shape.init if isinstance(shape, GenerationLora) else Init.DEFAULT
    kind = LoraKind(shape.rslora, shape.dora, init.value, ())
    return LoraFacts(
        shape.rank,
        shape.alpha,
        shape.dropout,
        targets,
        trained,
        trained / base,
        None if kind == PLAIN_LORA else kind,
    )


def write_canaries(folder: Path, canaries: Sequence[Canary] | Sequence[EmbedCanary]) -> None:
    """Write the canaries into the adapter's folder."""
    (folder / CANARY_FILE).write_text(canaries_json(canaries), encoding="utf-8")
