"""The card of an adapter version: what it is, what it was made of and what it was shown to bring. Knows no model.

`card.json` is the truth; `README.md` is written from it, with the front matter that Hugging Face reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.adapters.strict_json import build, dump_json, load_json
from pipeline.errors import AdapterError
from pipeline.records import Role

CARD_FILE = "card.json"
FORMAT = 1
"""Raised when the card's keys change."""

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two adapters the same, and what one must run on.

    `base` is named as the user named it; `base_digest` is `Base.digest`, or the encoder's `model_digest` for an embedder.
    `weights_digest` is the SHA-256 of adapter_model.safetensors. `contract_hash` is empty for a role without a contract,
    `pooling` for a generation adapter. `precision` is how the base was kept while training, such as `nf4/bfloat16`.
    `query_side_only`: trained against passages embedded by the bare encoder.
    """

    base: str
    base_digest: str
    weights_digest: str
    contract_hash: str
    pooling: str
    precision: str
    query_side_only: bool


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """`parameters` counts the trained ones, `share` is their part of the base's parameters (0 to 1)."""

    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    parameters: int
    share: float


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What it was trained on: rows in all, SHA-256 of each file by name, rows of each split."""

    name: str
    rows: int
    files: Mapping[str, str]
    splits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """How it was trained: `tokens` through the model, `batch` rows an optimiser step, `dev` metric → value."""

    method: str
    steps: int
    epochs: float
    tokens: int
    seconds: float
    learning_rate: float
    batch: int
    seed: int
    final_loss: float
    dev: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A paired comparison on `n` held-out items of `data`: `difference` is tuned minus base, higher is better.

    `low` and `high` bound the 95 % interval of the difference.
    """

    metric: str
    base: float
    tuned: float
    difference: float
    low: float
    high: float
    n: int
    data: str


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """All that is known of an adapter. `version` is empty until it is published; the first `evidence` decides a promotion."""

    format: int
    role: Role
    version: str
    created: str
    identity: Identity
    lora: LoraFacts
    data: DataFacts
    training: TrainingFacts
    libraries: Mapping[str, str]
    evidence: tuple[Evidence, ...]
    licence: str
    notes: str


def now_utc() -> str:
    """The present moment for `AdapterCard.created`: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_card(folder: Path) -> AdapterCard:
    """Read `folder`/card.json. Raises AdapterError naming the file and the key that is unknown, missing or wrong."""
    path = folder / CARD_FILE
    data = load_json(path, limit=_LIMIT)
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise AdapterError(f"{path}: format is {found!r}, this LoRAG reads {FORMAT}; publish the adapter again with this LoRAG")
    card = build(AdapterCard, data, str(path))
    try:
        utc = datetime.fromisoformat(card.created).utcoffset()
    except ValueError:
        utc = None
    if utc is None or utc.total_seconds():
        raise AdapterError(f"{path}: created is {card.created!r}; it must be a UTC time such as 2025-01-31T12:00:00Z")
    return card


def card_json(card: AdapterCard) -> str:
    """The text of card.json. Raises AdapterError for a number that is not finite."""
    return dump_json(card, f"card of the {card.role.value} adapter")


def write_model_card(card: AdapterCard) -> str:
    """README.md of a version: Hugging Face front matter, then the card's facts as markdown."""
    return "\n".join([*_front_matter(card), "", *_opening(card), "", *_evidence(card), "", *_making(card), ""])


def _front_matter(card: AdapterCard) -> list[str]:
    base = card.identity.base
    task = "sentence-similarity" if card.role is Role.EMBEDDER else "text-generation"
    fields = {"license": card.licence, "library_name": "peft", "pipeline_tag": task}
    if not base.startswith((".", "/", "~")):  # a folder of the maker's machine names nothing elsewhere
        fields["base_model"] = base
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items() if value]
    return ["---", *lines, "tags:", "- lora", "- lorag", f"- {card.role.value}", "---"]


def _opening(card: AdapterCard) -> list[str]:
    identity, lora = card.identity, card.lora
    facts = {
        "version": card.version or "not published",
        "created": card.created,
        "base": f"{identity.base} (digest {identity.base_digest}), trained on it in {identity.precision}",
        "contract": identity.contract_hash or "none",
        "weights": f"SHA-256 {identity.weights_digest}",
        "LoRA": f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g} on {', '.join(lora.targets)}",
        "size": f"{lora.parameters:,} parameters, {lora.share:.2%} of the base",
    }
    if identity.pooling:
        side = ", on the query side only" if identity.query_side_only else ""
        facts["encoder"] = f"{identity.pooling} pooling{side}"
    title = f"# {card.role.value.capitalize()} adapter for {_cell(identity.base)}"
    return [title, "", "| | |", "| --- | --- |", *(f"| {key} | {_cell(value)} |" for key, value in facts.items())]


def _evidence(card: AdapterCard) -> list[str]:
    if not card.evidence:
        return ["## Evidence", "", "No held-out comparison has been recorded."]
    head = "| metric | base | tuned | difference | 95 % interval | n | data |"
    rows = [
        f"| {_cell(e.metric)} | {e.base:.3f} | {e.tuned:.3f} | {e.difference:+.3f} "
        f"| {e.low:+.3f} to {e.high:+.3f} | {e.n} | {_cell(e.data)} |"
        for e in card.evidence
    ]
    return ["## Evidence", "", "Paired comparison with the base on held-out data.", "", head, "| --- " * 7 + "|", *rows]


def _making(card: AdapterCard) -> list[str]:
    data, training = card.data, card.training
    splits = ", ".join(f"{name} {rows}" for name, rows in data.splits.items())
    facts = {
        "method": training.method,
        "data": f"{data.name}: {data.rows} rows" + (f" ({splits})" if splits else ""),
        "files": ", ".join(f"{name} ({digest[:16]})" for name, digest in data.files.items()) or "none",
        "steps": f"{training.steps} of {training.batch} rows, {training.epochs:g} epochs, {training.tokens:,} tokens",
        "time": f"{training.seconds:.0f} s",
        "learning rate": f"{training.learning_rate:g}",
        "seed": str(training.seed),
        "final loss": f"{training.final_loss:.4f}",
        "dev": ", ".join(f"{name} {value:.4g}" for name, value in training.dev.items()) or "none",
        "libraries": ", ".join(f"{name} {version}" for name, version in card.libraries.items()) or "none",
    }
    lines = ["## How it was made", "", "| | |", "| --- | --- |", *(f"| {key} | {_cell(value)} |" for key, value in facts.items())]
    return [*lines, "", card.notes.strip()] if card.notes.strip() else lines


def _cell(text: str) -> str:
    """`text` inside one table cell: no line break, no bar, no markup."""
    flat = " ".join(text.split())
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
