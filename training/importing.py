"""An adapter that plain peft or trl made elsewhere → a published candidate. Nothing is claimed about its training.

It is checked like every other: inspected before any library reads it, its matrices compared with the base, its effect measured
on held-out rows and recorded as canaries. Weights are copied byte for byte, float32 too, so the digest on the card is that of
the imported file. Settings are published in plain form (`foreign_settings`). Files that are no part of an adapter are not copied.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.adapters.admission import write_settings
from lorag.pipeline.adapters.card import (
    FORMAT,
    NOT_KNOWN,
    UNKNOWN_DATA,
    UNKNOWN_TRAINING,
    AdapterCard,
    Identity,
    LoraFacts,
    Origin,
    now_utc,
)
from lorag.pipeline.adapters.files import copy_file
from lorag.pipeline.adapters.fitting import Layers, check_fits, check_name, linear_layers
from lorag.pipeline.adapters.foreign_settings import plain_settings
from lorag.pipeline.adapters.inspection import ALLOWED, WEIGHTS_FILE, AdapterFacts, inspect_weights, module_matrices
from lorag.pipeline.adapters.lora_settings import CONFIG_FILE, check_kind, read_object
from lorag.pipeline.adapters.proof import CanarySample, record_canaries, record_embed_canaries
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import open_engine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.errors import AdapterError, IdentityMismatch
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentence_encoder import resolve_model
from lorag.pipeline.storage.digests import file_digest
from lorag.training.encoder_import import check_maker, check_vectors, keep_prompts, read_maker
from lorag.training.publish import CANARY_SAMPLES, library_versions, write_canaries
from lorag.training.run import TrainingRun, held_out_examples, held_out_split, passage_search

PICKLED = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Claims:
    """The user's statements about an adapter, empty if unknown.

    They are the contract hash and the base's precision that it was trained with, its licence, and whether the base that it names
    is the project's under another name.
    """

    contract: str = ""
    precision: str = ""
    licence: str = ""
    same_base: bool = False


@dataclass(frozen=True, slots=True)
class Runtime:
    """How the project loads its base, on which canaries are measured."""

    precision: Precision = Precision.NF4
    compute: str = "auto"
    device: str = "auto"


def import_adapter(folder: Path, job: TrainingRun, claims: Claims, runtime: Runtime) -> Version:
    """Publish the adapter in `folder` as `candidate` of `job.role`, proven on held-out rows of `job.data`.

    Raises AdapterError, IdentityMismatch if it is for another base or contract, NoEffect if it does not change the replies to
    held-out rows, DataError if there are no such rows, BaseError.
    """
    _check_contract(folder, job.role, claims.contract)
    _check_source(folder)
    settings = read_object(folder)
    check_kind(folder / CONFIG_FILE, settings)
    named = str(settings.get("base_model_name_or_path") or "")
    if not claims.same_base:
        check_name(folder, named, job.encoder.model if job.role is Role.EMBEDDER else job.base)
    layers, model = _layers(job)
    check_fits(folder, layers, model)
    settings = plain_settings(folder, settings, module_matrices(folder), layers)
    facts = inspect_weights(folder, settings)
    origin = Origin(folder.resolve().name, file_digest(folder / CONFIG_FILE), named)
    with tempfile.TemporaryDirectory(prefix="lorag-import-") as made:
        staged = Path(made)
        copy_file(folder / WEIGHTS_FILE, staged / WEIGHTS_FILE, ALLOWED[WEIGHTS_FILE])
        write_settings(settings, staged)
        prove = _prove_embedder if job.role is Role.EMBEDDER else _prove_generation
        identity, parameters = prove(folder, staged, job, claims, runtime)
        return job.registry.publish(job.role, staged, _card(job.role, identity, facts, parameters, claims, origin))


def _check_contract(folder: Path, role: Role, claimed: str) -> None:
    if claimed and claimed != contract_hash(role):
        raise IdentityMismatch(
            f"{folder}: was trained on prompts of contract {claimed}, this LoRAG writes {contract_hash(role)}; "
            "use the LoRAG version it was trained with, or train it again"
        )


def _check_source(folder: Path) -> None:
    if not folder.is_dir():
        raise AdapterError(f"{folder}: no adapter folder; give the folder that peft's save_pretrained wrote")
    pickled = next((name for name in PICKLED if (folder / name).exists()), None)
    if pickled and not (folder / WEIGHTS_FILE).exists():
        raise AdapterError(f"{folder / pickled}: pickled weights run code when read; let peft save {WEIGHTS_FILE}")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).exists():
            raise AdapterError(f"{folder}: {name} is missing; give the folder that peft's save_pretrained wrote")


def _layers(job: TrainingRun) -> tuple[Layers, str]:
    """The linear layers of the model that the role adapts, and the model's name."""
    if job.role is Role.EMBEDDER:
        return linear_layers(str(resolve_model(job.encoder.model)), embeds=True), job.encoder.model
    base = resolve_base(job.base)
    return linear_layers(base.location, embeds=False), base.id


def _prove_generation(folder: Path, staged: Path, job: TrainingRun, claims: Claims, runtime: Runtime) -> tuple[Identity, int]:
    base = resolve_base(job.base)
    with passage_search(job) as search:
        held_out = held_out_examples(job, search)
    samples = [CanarySample(example.messages, example.target) for example in held_out]
    engine = open_engine(load_weights(base, precision=runtime.precision, compute=runtime.compute, device=runtime.device))
    parameters = engine.loaded.model.num_parameters()
    engine.load_adapter("imported", staged)
    write_canaries(staged, record_canaries(engine, "imported", samples))
    return _identity(job.role, base, staged, claims, pooling=""), int(parameters)


def _prove_embedder(folder: Path, staged: Path, job: TrainingRun, claims: Claims, runtime: Runtime) -> tuple[Identity, int]:
    questions = [row.query for row in job.data.embed_rows(held_out_split(job.data, job.role))]
    maker, bare = read_maker(folder), job.encoder.open()
    check_maker(folder, maker, bare, job.encoder.model, questions)
    keep_prompts(maker, staged, bare)
    tuned = job.encoder.open(adapter=staged)
    check_vectors(folder, staged, maker, tuned, questions[:CANARY_SAMPLES])
    write_canaries(staged, record_embed_canaries(tuned, bare, questions[:CANARY_SAMPLES]))
    base = Base(job.encoder.model, "", bare.identity.model_digest)
    parameters = sum(p.numel() for p in bare.load().parameters())
    return _identity(job.role, base, staged, claims, pooling=bare.identity.pooling), parameters


def _identity(role: Role, base: Base, staged: Path, claims: Claims, *, pooling: str) -> Identity:
    return Identity(
        base=base.id,
        base_digest=base.digest,
        weights_digest=file_digest(staged / WEIGHTS_FILE),
        contract_hash=contract_hash(role),
        pooling=pooling,
        precision=claims.precision or NOT_KNOWN,
        query_side_only=False,
    )


def _card(role: Role, identity: Identity, facts: AdapterFacts, parameters: int, claims: Claims, origin: Origin) -> AdapterCard:
    prompts = "as its importer says" if claims.contract else "which nobody has said it was trained on"
    return AdapterCard(
        format=FORMAT,
        role=role,
        version="",
        created=now_utc(),
        identity=identity,
        lora=LoraFacts(facts.rank, facts.alpha, facts.dropout, facts.targets, facts.parameters, facts.parameters / parameters),
        data=UNKNOWN_DATA,
        training=UNKNOWN_TRAINING,
        libraries=library_versions(),
        evidence=(),
        licence=claims.licence,
        notes=f"Imported. Its canaries were measured on this LoRAG's prompts, {prompts}.",
        origin=origin,
    )
