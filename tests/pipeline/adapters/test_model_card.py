"""The README.md of an adapter, read back with Hugging Face's own loaders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from lorag.pipeline.adapters.card import UNKNOWN_DATA, UNKNOWN_TRAINING, AdapterCard, Origin
from lorag.pipeline.adapters.evidence import Against
from lorag.pipeline.adapters.model_card import write_model_card
from lorag.pipeline.records import Role
from tests.claims import claim

EVIDENCE = (
    claim("ROUGE-1", 0.0, 0.3, reference=0.6, tuned=0.75, n=48, data="kelder test", against=Against("0001-aa11bb22", "aa11")),
    claim("ROUGE-1", 0.1, 0.4, reference=0.5, tuned=0.75, n=48, data="kelder test"),
    claim("EM", 0.1, 0.3, reference=0.1, tuned=0.3, n=48, data="kelder test"),
    claim("ROUGE-1", 0.0, 0.2, reference=0.4, tuned=0.5, n=20, data="another set"),
)


@pytest.fixture
def card(plain_adapter: Callable[[int], Path], plain_card: Callable[[Path], AdapterCard]) -> AdapterCard:
    made = dataclasses.replace(plain_card(plain_adapter(1)), version="0001-abcdef01", evidence=EVIDENCE)
    return dataclasses.replace(made, identity=dataclasses.replace(made.identity, base="smollm2-135m"))


def test_hugging_face_reads_what_the_card_says(card: AdapterCard) -> None:
    read = ModelCard(write_model_card(card)).data
    assert read.license == "apache-2.0"
    assert (read.library_name, read.pipeline_tag) == ("peft", "text-generation")
    assert read.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert read.tags == ["lora", "lorag", "rewriter"]
    assert read.metrics == ["rouge_1", "em"]
    assert read.model_name == "Rewriter adapter 0001-abcdef01"
    assert read.eval_results is not None
    found = [(r.dataset_name, r.metric_name, r.metric_type, r.metric_value, r.task_type) for r in read.eval_results]
    assert found == [
        ("kelder test", "ROUGE-1, n = 48", "rouge_1", 0.75, "text-generation"),
        ("kelder test", "EM, n = 48", "em", 0.3, "text-generation"),
        ("another set", "ROUGE-1, n = 20", "rouge_1", 0.5, "text-generation"),
    ]


def test_what_is_not_known_is_not_said(card: AdapterCard) -> None:
    bare = dataclasses.replace(card, evidence=(), licence="")
    bare = dataclasses.replace(bare, identity=dataclasses.replace(bare.identity, base="models/mine/v2"))
    text = write_model_card(bare)
    read = ModelCard(text).data.to_dict()
    assert not {"license", "base_model", "datasets", "metrics", "model-index"} & read.keys()
    assert "| licence | not said |" in text and "No held-out comparison has been recorded." in text


def test_names_on_the_hub_and_licences_without_a_short_name(card: AdapterCard) -> None:
    data = dataclasses.replace(card.data, name="somebody/qa-pairs")
    other = dataclasses.replace(card, role=Role.EMBEDDER, data=data, licence="CC BY-SA 4.0; passages MIT")
    read = ModelCard(write_model_card(other)).data
    assert read.datasets == ["somebody/qa-pairs"]
    assert (read.license, read.license_name) == ("other", "CC BY-SA 4.0; passages MIT")
    assert read.pipeline_tag == "sentence-similarity" and read.tags is not None and "sentence-transformers" in read.tags


def test_an_imported_adapter_claims_no_training(card: AdapterCard) -> None:
    origin = Origin("checkpoint-9", "ab" * 32, "somebody/base")
    imported = dataclasses.replace(card, origin=origin, data=UNKNOWN_DATA, training=UNKNOWN_TRAINING)
    text = write_model_card(imported)
    assert "trained elsewhere and imported; how and on what is not known" in text
    assert "folder checkpoint-9, weights as they were, settings SHA-256 " + "ab" * 32 in text
    assert "seed" not in text and "final loss" not in text
