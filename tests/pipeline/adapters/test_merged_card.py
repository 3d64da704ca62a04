"""The README.md of a merged model, read back with Hugging Face's own loaders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.merged_card import Agreement, MergeRecord, merged_model_card
from lorag.pipeline.records import Role

AGREEMENT = Agreement("logits", 0.001, 0.01, 4, 0.02, 0.01)


@pytest.fixture
def card(plain_adapter: Callable[[int], Path], plain_card: Callable[[Path], AdapterCard]) -> AdapterCard:
    return plain_card(plain_adapter(1))


def record(role: Role, base: str) -> MergeRecord:
    made = "2026-01-02T03:04:05Z"
    return MergeRecord(role, "0001-abcdef01", "ab" * 32, base, "cd", made, "float32", "fp32", 6, 1e-6, AGREEMENT, None, False, {})


@pytest.mark.parametrize(
    ("role", "base", "on_the_hub", "task", "library"),
    [
        (Role.REWRITER, "smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "text-generation", "transformers"),
        (Role.EMBEDDER, "minilm", "sentence-transformers/all-MiniLM-L6-v2", "sentence-similarity", "sentence-transformers"),
        (Role.REWRITER, "models/mine/v2", None, "text-generation", "transformers"),
    ],
)
def test_hugging_face_reads_what_it_is(
    card: AdapterCard, role: Role, base: str, on_the_hub: str | None, task: str, library: str
) -> None:
    text = merged_model_card(record(role, base), card)
    read = ModelCard(text).data
    assert (read.license, read.library_name, read.pipeline_tag, read.tags) == ("apache-2.0", library, task, ["lorag"])
    assert read.base_model == on_the_hub
    assert f"| base | {base} (digest cd) |" in text and "| logits | 1.00e-03 on 4 canaries (at most 1e-02) |" in text


def test_a_licence_without_a_short_name_cannot_break_the_front_matter(card: AdapterCard) -> None:
    read = ModelCard(merged_model_card(record(Role.REWRITER, "a/b"), dataclasses.replace(card, licence="CC BY:\n---\n4.0"))).data
    assert (read.license, read.license_name, read.base_model) == ("other", "CC BY: --- 4.0", "a/b")
