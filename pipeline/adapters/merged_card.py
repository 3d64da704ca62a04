"""The record of a merged model: its adapter and base, and the figures that compare it with the unmerged adapter.

`merge.json` is the source; `README.md` is written from it, with the front matter that Hugging Face reads. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.merging_parity import Parity
from lorag.pipeline.adapters.model_card import facts_table, front_matter, hub_name, hub_task, licence_fields
from lorag.pipeline.records import Role

MERGE_FILE = "merge.json"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near the merged model is to the unmerged one, in the precision that is written, on `inputs` canaries.

    `measure` names what is compared; `distance` may be at most `tolerance`. Seconds are for one token, or for one text of an
    encoder.
    """

    measure: str
    distance: float
    tolerance: float
    inputs: int
    seconds_unmerged: float
    seconds_merged: float

    @property
    def holds(self) -> bool:
        return self.distance <= self.tolerance


@dataclass(frozen=True, slots=True)
class MergeRecord:
    """`trained_on` is the precision of the base that the adapter was trained on, `precision` that of the merged weights.

    `layers` were merged; `layer_error` is the largest difference of one, as a share of what the adapter adds to it. `parity`
    compares the merged model with the adapter as trained; None for an encoder, which is trained unquantized. With `allowed` the
    model was written although the figures exceed the tolerances.
    """

    role: Role
    version: str
    weights_digest: str
    base: str
    base_digest: str
    created: str
    trained_on: str
    precision: str
    layers: int
    layer_error: float
    agreement: Agreement
    parity: Parity | None
    allowed: bool
    libraries: Mapping[str, str]

    @property
    def holds(self) -> bool:
        return self.agreement.holds and (self.parity is None or self.parity.holds)


def figures(record: MergeRecord) -> dict[str, str]:
    """The figures by name, as text."""
    agreement, parity = record.agreement, record.parity
    unit = "a text" if record.role is Role.EMBEDDER else "a token"
    found = {
        "layers merged": f"{record.layers}, each within {record.layer_error:.1e} of what the adapter adds (float32)",
        agreement.measure: f"{agreement.distance:.2e} on {agreement.inputs} canaries (at most {agreement.tolerance:.0e})",
        "latency": f"{1000 * agreement.seconds_unmerged:.1f} ms {unit} unmerged, {1000 * agreement.seconds_merged:.1f} ms merged",
    }
    if parity is not None:
        found[f"against the adapter on {record.trained_on}"] = parity.describe()
    if record.allowed:
        found["written all the same"] = "these figures do not hold; whoever merged it allowed that"
    return found


def merged_model_card(record: MergeRecord, card: AdapterCard) -> str:
    """README.md of a merged model."""
    fields: dict[str, Any] = licence_fields(card.licence)
    fields["library_name"] = "sentence-transformers" if record.role is Role.EMBEDDER else "transformers"
    fields["pipeline_tag"] = hub_task(record.role)
    if base := hub_name(record.base):
        fields["base_model"] = base
    fields["tags"] = ["lorag"]
    facts = {
        "adapter": f"{record.role.value} {record.version} (weights SHA-256 {record.weights_digest})",
        "base": f"{record.base} (digest {record.base_digest})",
        "trained on": record.trained_on,
        "merged weights": record.precision,
        **figures(record),
        "made": record.created,
        "libraries": ", ".join(f"{name} {version}" for name, version in record.libraries.items()),
    }
    title = f"# {record.role.value.capitalize()} adapter merged into its base"
    return "\n".join([*front_matter(fields), "", title, "", *facts_table(facts), ""])
