"""The README.md of an adapter folder: front matter as Hugging Face reads it, then the card's facts as markdown. It is written
from card.json alone and says so if something is not known.

Front matter: https://huggingface.co/docs/hub/model-cards. Its `base_model` and `datasets` are names on the hub. So a local base
or data set is named in the text alone: the same name on the hub would be something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.evidence import Evidence
from lorag.pipeline.records import Role

HUB_NAMES: Mapping[str, str] = {
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
}
"""Bases with a short name in LoRAG, and their names on the hub."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_LICENCE_ID = re.compile(r"[a-z0-9][a-z0-9.-]*")

Facts = Mapping[str, str]


def write_model_card(card: AdapterCard) -> str:
    """README.md of a version."""
    parts = (_front_matter(card), _opening(card), _use(card), _evidence(card), _lineage(card), _making(card))
    return "\n".join(line for part in parts if part for line in (*part, ""))


def hub_name(name: str) -> str:
    """The hub's name of a base or data set; empty if `name` is not on the hub."""
    known = HUB_NAMES.get(name, name)
    return known if _HUB_NAME.fullmatch(known) else ""


def front_matter(fields: Mapping[str, Any]) -> list[str]:
    """The front matter lines of a README.md, as Hugging Face reads them."""
    import yaml

    text = yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=120)
    return ["---", *text.rstrip("\n").splitlines(), "---"]


def hub_task(role: Role) -> str:
    """The hub's name of the task of a model for `role`."""
    return "sentence-similarity" if role is Role.EMBEDDER else "text-generation"


def _front_matter(card: AdapterCard) -> list[str]:
    base, data = hub_name(card.identity.base), hub_name(card.data.name)
    fields: dict[str, Any] = licence_fields(card.licence)
    fields["library_name"] = "peft"
    fields["pipeline_tag"] = hub_task(card.role)
    if base:
        fields |= {"base_model": base, "base_model_relation": "adapter"}
    if data:
        fields["datasets"] = [data]
    if card.evidence:
        fields["metrics"] = list(dict.fromkeys(_slug(each.metric) for each in card.evidence))
    embeds = ["sentence-transformers"] if card.role is Role.EMBEDDER else []
    fields["tags"] = ["lora", "lorag", card.role.value, *embeds]
    if card.evidence:
        fields["model-index"] = [{"name": _title(card), "results": _results(card)}]
    return front_matter(fields)


def licence_fields(licence: str) -> dict[str, Any]:
    """The hub knows licences by short names such as `apache-2.0`; any other is `other` with a `license_name`."""
    if not licence.strip():
        return {}
    return {"license": licence} if _LICENCE_ID.fullmatch(licence) else {"license": "other", "license_name": _flat(licence)}


def _results(card: AdapterCard) -> list[dict[str, Any]]:
    """The claims as the hub's evaluation results: the adapter's own value, once per metric and data set, for any reference."""
    by_data: dict[str, dict[str, Evidence]] = {}
    for each in card.evidence:
        by_data.setdefault(each.data.name, {}).setdefault(each.metric, each)
    task = {"type": hub_task(card.role), "name": card.role.value}
    return [
        {
            "task": task.copy(),
            "dataset": {"type": _slug(data), "name": _flat(data)},
            "metrics": [
                {"type": _slug(e.metric), "value": round(e.tuned, 6), "name": _flat(f"{e.metric}, n = {e.n}")}
                for e in evidence.values()
            ],
        }
        for data, evidence in by_data.items()
    ]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9@.]+", "_", name.lower()).strip("_") or "unnamed"


def _title(card: AdapterCard) -> str:
    return f"{card.role.value.capitalize()} adapter {card.version}".strip()


def _opening(card: AdapterCard) -> list[str]:
    identity, lora = card.identity, card.lora
    facts = {
        "version": card.version or "not published",
        "created": card.created,
        "base": f"{identity.base} (digest {identity.base_digest}), trained on it in {identity.precision}",
        "contract": identity.contract_hash or "none",
        "weights": f"SHA-256 {identity.weights_digest}",
        "LoRA": f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g} on {', '.join(lora.targets)}"
        + (f"; {lora.kind}" if lora.kind else ""),
        "size": f"{lora.parameters:,} parameters, {lora.share:.2%} of the base",
        "licence": card.licence or "not said",
    }
    if identity.pooling:
        side = ", on the query side only" if identity.query_side_only else ""
        facts["encoder"] = f"{identity.pooling} pooling{side}"
    return [f"# {card.role.value.capitalize()} adapter for {_cell(identity.base)}", "", *facts_table(facts)]


def _use(card: AdapterCard) -> list[str]:
    base = hub_name(card.identity.base) or "BASE"
    if card.role is Role.EMBEDDER:
        code = [
            "from sentence_transformers import SentenceTransformer",
            "",
            f'model = SentenceTransformer("{base}")',
            'model.load_adapter("FOLDER")',
        ]
    else:
        code = [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM",
            "",
            f'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "FOLDER")',
        ]
    note = "It was made for the prompts of the contract above; `lorag adapters import` takes it into another project."
    return ["## Without LoRAG", "", "```python", *code, "```", "", note]


def _evidence(card: AdapterCard) -> list[str]:
    if not card.evidence:
        return ["## Evidence", "", "No held-out comparison has been recorded."]
    note = "Paired item by item; `reference` is the value of what it was measured against."
    return ["## Evidence", "", note, "", *_claims(card.evidence)]


def _lineage(card: AdapterCard) -> list[str]:
    if card.parent is None:
        return []
    origin = f"Training began with the weights of {_cell(card.parent.version)} (SHA-256 {card.parent.weights_digest})."
    lines = ["## What it began with", "", origin]
    if not card.parent.changes:
        return lines
    note = "What it gained and lost against that, on held-out items of other people's and invented ones:"
    return [*lines, "", note, "", *_claims(card.parent.changes)]


def _claims(evidence: Sequence[Evidence]) -> list[str]:
    head = "| metric | against | reference | tuned | difference | interval | n | data | kind |"
    rows = [
        f"| {_cell(e.metric)} | {_cell(str(e.against))} | {e.reference:.3f} | {e.tuned:.3f} | {e.difference:+.3f} "
        f"| {e.interval} ({e.confidence}) | {e.n} | {_cell(str(e.data))} | {e.kind.value} |"
        for e in evidence
    ]
    return [head, "| --- " * 9 + "|", *rows]


def _making(card: AdapterCard) -> list[str]:
    libraries = ", ".join(f"{name} {version}" for name, version in card.libraries.items()) or "none"
    made = _imported(card) if card.origin else _trained(card)
    where = "libraries at import" if card.origin else "libraries"
    lines = ["## How it was made", "", *facts_table({**made, where: libraries})]
    return [*lines, "", card.notes.strip()] if card.notes.strip() else lines


def _imported(card: AdapterCard) -> Facts:
    assert card.origin is not None
    return {
        "method": "trained elsewhere and imported; how and on what is not known",
        "came from": f"folder {card.origin.folder}, weights as they were, settings SHA-256 {card.origin.settings_digest}",
        "base it named": card.origin.base or "none",
    }


def _trained(card: AdapterCard) -> Facts:
    data, training = card.data, card.training
    splits = ", ".join(f"{name} {rows}" for name, rows in data.splits.items())
    return {
        "method": training.method,
        "data": f"{data.name}: {data.rows} rows" + (f" ({splits})" if splits else ""),
        "files": ", ".join(f"{name} ({digest[:16]})" for name, digest in data.files.items()) or "none",
        "steps": f"{training.steps} of {training.batch} rows, {training.epochs:g} epochs, {training.tokens:,} tokens",
        "time": f"{training.seconds:.0f} s",
        "learning rate": f"{training.learning_rate:g}",
        "seed": str(training.seed),
        "final loss": f"{training.final_loss:.4f}",
        "dev": ", ".join(f"{name} {value:.4g}" for name, value in training.dev.items()) or "none",
    } | ({"day in its prompts": training.template_date} if training.template_date else {})


def facts_table(facts: Facts) -> list[str]:
    """A markdown table of two columns."""
    return ["| | |", "| --- | --- |", *(f"| {key} | {_cell(value)} |" for key, value in facts.items())]


def _flat(text: str) -> str:
    """`text` on one line: a line of dashes within a value would end the front matter."""
    return " ".join(text.split())


def _cell(text: str) -> str:
    """`text` inside one table cell: no line break, no bar, no markup."""
    return _flat(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
