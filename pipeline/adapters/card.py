"""The card of an adapter version: its identity, its data and training, and its evidence. Knows no model.

`card.json` is the source; `README.md` is written from it (`model_card`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lorag.pipeline.adapters.evidence import Evidence
from lorag.pipeline.adapters.files import build, dump_json, load_json
from lorag.pipeline.adapters.format_1 import upgraded
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Role
from lorag.pipeline.storage.strict_json import OPTIONAL

CARD_FILE = "card.json"
FORMAT = 2
"""Incremented when the card's keys change. Format 1 is read as this one."""

_LIMIT = 1 << 20

_ROUNDED = 1e-6
"""How far a claim's difference may be from that of its two figures: each is computed by itself."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies an adapter, and what it must run on.

    `base` is the user's name for it; `base_digest` is `Base.digest`, or the encoder's `model_digest` for an embedder.
    `weights_digest` is the SHA-256 of adapter_model.safetensors. `contract_hash` is empty for a role without a contract,
    `pooling` for a generation adapter. `precision` is that of the base in training, such as `nf4/bfloat16`. `query_side_only`:
    trained against passages embedded by the bare encoder.
    """

    base: str
    base_digest: str
    weights_digest: str
    contract_hash: str
    pooling: str
    precision: str
    query_side_only: bool


@dataclass(frozen=True, slots=True)
class LoraKind:
    """How an adapter differs from plain LoRA. `init` is the initialisation: `default`, `pissa` or `loftq`. `invocation` are the
    token ids that switch an activated adapter on; empty for one that is always on."""

    rslora: bool
    dora: bool
    init: str
    invocation: tuple[int, ...]

    def __str__(self) -> str:
        named = {"rsLoRA": self.rslora, "DoRA": self.dora, f"init {self.init}": self.init != "default"}
        return ", ".join([*(name for name, is_so in named.items() if is_so), *(["activated"] if self.invocation else [])])


PLAIN_LORA = LoraKind(False, False, "default", ())


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """`parameters` counts the trained ones, `share` is their ratio to the base's parameters (0 to 1). `kind` is None for plain
    LoRA."""

    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    parameters: int
    share: float
    kind: LoraKind | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What it was trained on: rows in all, SHA-256 of each file by name, rows of each split."""

    name: str
    rows: int
    files: Mapping[str, str]
    splits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """How it was trained: `tokens` through the model, `batch` rows an optimiser step, `dev` metric → value.

    `template_date` is the day that the base's template wrote into its prompts, None if it writes none.
    """

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
    template_date: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True)
class Parent:
    """The adapter whose weights the training began with. `changes` are claims against it on held-out items of public sets."""

    version: str
    weights_digest: str
    changes: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of an adapter that was trained elsewhere: its folder's name, the SHA-256 of its adapter_config.json, and the
    base that this names (empty: none). Its weights are unchanged, so the identity has their digest. With an origin, `data` and
    `training` are `NOT_KNOWN`."""

    folder: str
    settings_digest: str
    base: str


NOT_KNOWN = "not known"
UNKNOWN_DATA = DataFacts(NOT_KNOWN, 0, {}, {})
UNKNOWN_TRAINING = TrainingFacts(NOT_KNOWN, 0, 0.0, 0, 0.0, 0.0, 0, 0, 0.0, {})


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """All that is known of an adapter. `version` is empty until it is published; the newest `evidence` is first. `parent` is
    None if training began from new weights, `origin` is None if it was trained here."""

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
    parent: Parent | None = field(default=None, metadata=OPTIONAL)
    origin: Origin | None = field(default=None, metadata=OPTIONAL)


def now_utc() -> str:
    """The current time for `AdapterCard.created`: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_card(folder: Path) -> AdapterCard:
    """Read `folder`/card.json. Raises AdapterError that names the file and the key that is unknown, missing or wrong."""
    path = folder / CARD_FILE
    data = load_json(path, limit=_LIMIT)
    found = data.get("format") if isinstance(data, dict) else None
    if found == 1:
        data = upgraded(data, str(path))
    elif found != FORMAT:
        known = f"this LoRAG reads 1 and {FORMAT}"
        raise AdapterError(f"{path}: format is {found!r}, {known}; publish the adapter again with this LoRAG")
    card = build(AdapterCard, data, str(path))
    _require_sound(card.evidence, f"{path}: evidence")
    _require_sound(card.parent.changes if card.parent else (), f"{path}: parent: changes")
    try:
        utc = datetime.fromisoformat(card.created).utcoffset()
    except ValueError:
        utc = None
    if utc is None or utc.total_seconds():
        raise AdapterError(f"{path}: created is {card.created!r}; it must be a UTC time such as 2025-01-31T12:00:00Z")
    return card


def _require_sound(claims: Iterable[Evidence], where: str) -> None:
    for number, each in enumerate(claims):
        if each.n < 1 or not 0 < each.level < 1 or each.low > each.high:
            raise AdapterError(
                f"{where}[{number}]: n is {each.n}, level {each.level:g}, interval {each.interval}; n must be 1 or more, the "
                "level between 0 and 1, and low not above high"
            )
        if not abs(each.tuned - each.reference - each.difference) <= _ROUNDED:
            raise AdapterError(
                f"{where}[{number}]: {each.metric} {each.tuned:g} against {each.reference:g} is no difference of "
                f"{each.difference:+g}; measure the adapter again with `lorag eval adapter`"
            )


def card_json(card: AdapterCard) -> str:
    """The text of card.json. Raises AdapterError for a number that is not finite."""
    return dump_json(card, f"card of the {card.role.value} adapter")
