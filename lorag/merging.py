"""`lorag adapters merge`: merges an adapter version into its base, checks the result and writes a folder that needs no adapter.

Merging is into half or full precision only. The merged model is compared, on held-out rows, with the adapter on the base it was
trained on, which may be quantized. If the figures do not hold, nothing is written, unless the user allows it, and then the
folder says so. The folder appears whole or not at all.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.assembly import open_registry, serving_retrieval
from lorag.pipeline.adapters.canaries import read_canaries, read_embed_canaries
from lorag.pipeline.adapters.card import AdapterCard, now_utc
from lorag.pipeline.adapters.inspection import inspect_folder
from lorag.pipeline.adapters.merged_card import MERGE_FILE, Agreement, MergeRecord, figures, merged_model_card
from lorag.pipeline.adapters.merging import MergedLayers, merge_layers
from lorag.pipeline.adapters.merging_parity import Parity, ParitySample, compare, observe, seconds_per_token
from lorag.pipeline.adapters.proof import verify_encoder, verify_identity
from lorag.pipeline.config import Settings
from lorag.pipeline.contracts import judge
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine, open_engine
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.engine.weights import LoadedBase, Precision, load_weights
from lorag.pipeline.errors import AdapterError, DataError, InputError
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.pipeline.storage.atomic import new_folder
from lorag.training.dataset import DataFolder, judge_schemas
from lorag.training.examples import judge_examples, rank_for, rewrite_examples, synthesize_examples
from lorag.training.lora_options import QUANTIZED
from lorag.training.memory import release_memory
from lorag.training.passage_search import PassageSearch
from lorag.training.publish import library_versions

if TYPE_CHECKING:
    from lorag.pipeline.adapters.registry import Version

LOGIT_TOLERANCE = {Precision.FP32: 1e-3, Precision.FP16: 2e-2, Precision.BF16: 1e-1}
"""Root mean square of the differences of logits, as a share of their standard deviation, that rounding may cause. bfloat16 keeps
three digits of a weight, and the layers' roundings add up."""

VECTOR_TOLERANCE = 1e-5
"""One minus the cosine of merged and unmerged vectors; both are float32."""

SAMPLES = 32
"""Rows of the parity set by default."""

NAME = "merging"
Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class MergeSpec:
    """A merge. `data` holds the parity rows, in dev or test. With `allow` the folder is written whatever the figures are."""

    version: str
    out: Path
    data: Path | None = None
    precision: Precision = Precision.BF16
    samples: int = SAMPLES
    allow: bool = False


def merge_version(settings: Settings, role: Role, spec: MergeSpec, on_notice: Notice | None = None) -> MergeRecord:
    """Merge, check and write. Raises AdapterError with the figures if they do not hold, InputError for an unusable `spec`.

    The registry is not changed: the folder is a base (or encoder) of its own, with merge.json and README.md next to the weights.
    """
    if spec.out.exists():
        raise InputError(f"{spec.out}: is there already; name another folder, or delete it first")
    if spec.precision not in LOGIT_TOLERANCE:
        raise InputError(f"precision {spec.precision.value}: an adapter is merged into bf16, fp16 or fp32 only")
    registry = open_registry(settings)
    version = registry.resolve(role, spec.version)
    card = registry.show(role, version.id)
    notice = on_notice or (lambda text: None)
    with _temporary_folder(spec.out) as folder:
        merge = _merge_encoder if role is Role.EMBEDDER else _merge_generation
        record = merge(settings, version, card, spec, folder, notice)
        (folder / MERGE_FILE).write_text(json.dumps(asdict(record), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(merged_model_card(record, card), encoding="utf-8")
    return record


@contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    """Within: a temporary folder next to `out`. It is renamed to `out` at the end, and removed after an error."""
    try:
        with new_folder(out) as folder:
            yield folder
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}); name another place with --out") from error


def _merge_generation(
    settings: Settings, version: Version, card: AdapterCard, spec: MergeSpec, folder: Path, notice: Notice
) -> MergeRecord:
    import torch

    base, facts = resolve_base(settings.base.model), inspect_folder(version.folder)
    if facts.invocation:
        raise AdapterError(
            f"{card.role.value} {card.version} is an activated adapter: it works on what follows its invocation alone, and "
            "merged weights work on everything; serve it unmerged"
        )
    verify_identity(card, base, weights_digest=facts.weights_digest)
    samples = _samples(settings, card, version.folder, spec)
    notice(f"the adapter on {card.identity.precision}, as it was trained, on {len(samples)} held-out rows")
    reference, bare = _as_trained(base, card, version.folder, settings.base.device, samples)
    notice(f"the adapter on {spec.precision.value}, then merged into it")
    loaded = load_weights(base, precision=spec.precision, device=settings.base.device)
    engine = open_engine(loaded)
    engine.load_adapter(NAME, version.folder)
    prompts = [canary.messages for canary in read_canaries(version.folder)]
    unmerged_logits = engine.prompt_logits([Generation(messages, NAME, 1) for messages in prompts])
    seconds_unmerged = seconds_per_token(engine, NAME, samples[0])
    layers = merge_layers(loaded.model, getattr(torch, loaded.compute))
    merged = LocalEngine(_without_peft(loaded))
    merged_logits = merged.prompt_logits([Generation(messages, None, 1) for messages in prompts])
    observed, seconds_merged = observe(merged, None, samples), seconds_per_token(merged, None, samples[0])
    distance = float((merged_logits - unmerged_logits).square().mean().sqrt() / unmerged_logits.std())
    agreement = Agreement(
        "logits after the prompt, difference as a share of their deviation",
        distance,
        LOGIT_TOLERANCE[spec.precision],
        len(prompts),
        seconds_unmerged,
        seconds_merged,
    )
    parity = compare(reference, observed, bare, samples, seconds_unmerged=seconds_unmerged, seconds_merged=seconds_merged)
    record = _record(card, base, spec, layers, agreement, parity)
    _require(record, spec)
    with quiet_libraries():
        loaded.model.save_pretrained(str(folder))
        loaded.tokenizer.save_pretrained(str(folder))
    return record


def _without_peft(loaded: LoadedBase) -> LoadedBase:
    """The model without peft's attribute, with which it would save an adapter."""
    loaded.model.__dict__.pop("peft_config", None)
    loaded.model.eval()
    return loaded


def _as_trained(base: Base, card: AdapterCard, folder: Path, device: str, samples: Sequence[ParitySample]) -> tuple[Any, Any]:
    """Observations of the adapter and of the bare base on the samples, in the precision that the adapter was trained in."""
    precision, compute = _trained_in(card)
    engine = open_engine(load_weights(base, precision=precision, compute=compute, device=device))
    engine.load_adapter(NAME, folder)
    found = observe(engine, NAME, samples), observe(engine, None, samples)
    del engine
    release_memory()
    return found


def _trained_in(card: AdapterCard) -> tuple[Precision, str]:
    """The precision of the base's weights in training, and its compute dtype. Raises AdapterError if the card does not say."""
    weights, _, compute = card.identity.precision.partition("/")
    known = {"float32": Precision.FP32, "bfloat16": Precision.BF16, "float16": Precision.FP16}
    precision = known.get(weights) or {each.value: each for each in Precision}.get(weights)
    if precision is None or compute not in ("", "auto", *known):
        raise AdapterError(
            f"{card.role.value} {card.version}: the precision of the base it was trained on is {card.identity.precision[:60]!r}, "
            "so it cannot be held to itself there; import it again with --precision, such as nf4 or bf16"
        )
    return precision, compute or "auto"


def _samples(settings: Settings, card: AdapterCard, folder: Path, spec: MergeSpec) -> list[ParitySample]:
    """The canaries, then held-out rows. Raises InputError if an adapter of a quantized base has no data, DataError if no rows."""
    found = [ParitySample(canary.messages, canary.reply) for canary in read_canaries(folder)]
    precision, _ = _trained_in(card)
    if spec.data is None:
        if precision in QUANTIZED:
            raise InputError(
                f"{card.role.value} {card.version} was trained on a {card.identity.precision} base: merged into half precision "
                "it is another model; give --data FOLDER, whose held-out rows it is compared on"
            )
        return found
    rows = parity_rows(settings, card.role, DataFolder(spec.data, settings.judge.intents), spec.samples)
    # A judge's canaries are free replies; its labels are what must agree.
    return [*(found if card.role is not Role.JUDGE else []), *rows]


def parity_rows(settings: Settings, role: Role, data: DataFolder, most: int) -> list[ParitySample]:
    """At most `most` held-out rows as prompts of `role`. Raises DataError if there are none."""
    split = next((name for name in ("dev", "test") if data.has(name, role)), None)
    if split is None:
        raise DataError(f"no dev/{role.value}.jsonl in {data.folder}; the merged model is compared on held-out rows")
    if role is Role.JUDGE:
        schemas, rows = judge_schemas(data.intents), data.judgments(split)
        choices = {row.id: tuple(judge.target(schemas[row.task], label) for label in schemas[row.task].labels) for row in rows}
        return [ParitySample(each.messages, each.target, choices[each.id]) for each in judge_examples(rows, schemas)[:most]]
    if role is Role.REWRITER:
        examples = rewrite_examples(data.rewrites(split))
    else:
        questions, passages, retrieval = data.questions(split)[:most], data.passages(), serving_retrieval(settings)
        with PassageSearch(passages, retrieval) as search:
            ranked = rank_for(questions, search, retrieval.k, training=False)
        examples = synthesize_examples(questions, passages, ranked, k=retrieval.k, missing_gold=0.0, shuffled=0.0)
    return [ParitySample(example.messages, example.target) for example in examples[:most]]


def _merge_encoder(
    settings: Settings, version: Version, card: AdapterCard, spec: MergeSpec, folder: Path, notice: Notice
) -> MergeRecord:
    import torch

    if card.identity.query_side_only:
        raise AdapterError(
            f"embedder {card.version} works on questions alone; a merged encoder would move the passages too; serve it unmerged"
        )
    facts = inspect_folder(version.folder)
    tuned = SentenceTransformerEmbedder(settings.embedder.model, adapter=version.folder)
    verify_encoder(card, tuned.identity, weights_digest=facts.weights_digest)
    texts = [canary.text for canary in read_embed_canaries(version.folder)]
    notice(f"the encoder with its adapter, then merged, on {len(texts)} canaries")
    unmerged, seconds_unmerged = _timed(tuned, texts)
    model = tuned.load()
    layers = merge_layers(model.transformers_model, torch.float32)
    _save_encoder(model, settings.embedder.model, folder)
    merged, seconds_merged = _timed(SentenceTransformerEmbedder(str(folder)), texts)
    distance = max(0.0, float(1 - (unmerged * merged).sum(axis=1).min()))
    agreement = Agreement(
        "vectors, one minus the cosine", distance, VECTOR_TOLERANCE, len(texts), seconds_unmerged, seconds_merged
    )
    base = Base(settings.embedder.model, settings.embedder.model, card.identity.base_digest)
    record = _record(card, base, replace(spec, precision=Precision.FP32), layers, agreement, None)
    _require(record, spec)
    return record


def _save_encoder(model: Any, name: str, folder: Path) -> None:
    """Save through a new encoder: one that had an adapter loaded saves its weights under names that no loader knows."""
    fresh = SentenceTransformerEmbedder(name).load()
    fresh.transformers_model.load_state_dict(model.transformers_model.state_dict())
    fresh.prompts = model.prompts  # an adapter may bring its own instruction
    with quiet_libraries():
        fresh.save(str(folder), create_model_card=False)


def _timed(encoder: SentenceTransformerEmbedder, texts: Sequence[str]) -> tuple[Any, float]:
    """Vectors, and seconds per text: one text at a time, the median over three rounds."""
    vectors = encoder.embed_queries(texts)
    rounds = []
    for _ in range(3):
        began = time.perf_counter()
        for text in texts:
            encoder.embed_queries([text])
        rounds.append((time.perf_counter() - began) / len(texts))
    return vectors, statistics.median(rounds)


def _record(
    card: AdapterCard, base: Base, spec: MergeSpec, layers: MergedLayers, agreement: Agreement, parity: Parity | None
) -> MergeRecord:
    record = MergeRecord(
        role=card.role,
        version=card.version,
        weights_digest=card.identity.weights_digest,
        base=base.id,
        base_digest=base.digest,
        created=now_utc(),
        trained_on=card.identity.precision,
        precision=spec.precision.value,
        layers=layers.layers,
        layer_error=layers.largest_error,
        agreement=agreement,
        parity=parity,
        allowed=False,
        libraries=library_versions(),
    )
    return replace(record, allowed=spec.allow and not record.holds)


def _require(record: MergeRecord, spec: MergeSpec) -> None:
    """Raises AdapterError with the figures if the merged model differs from the adapter."""
    if record.holds or spec.allow:
        return
    found = "; ".join(f"{name}: {text}" for name, text in figures(record).items())
    raise AdapterError(
        f"{record.role.value} {record.version} merged into {record.precision} does not do what it did: {found}; nothing was "
        "written: serve it unmerged, train it on a base in half precision, or allow the difference with --allow-difference"
    )
