"""`lorag adapters merge` on tiny real models: what is written works without adapter, and what differs is refused with figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorag.merging import parity_rows
from lorag.pipeline.adapters.canaries import CANARY_FILE, canaries_json, read_canaries
from lorag.pipeline.adapters.card import NOT_KNOWN
from lorag.pipeline.adapters.proof import CanarySample, record_canaries
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import load_settings
from lorag.pipeline.contracts import rewrite
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.records import Role, Speaker, Turn
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.training.dataset import DataFolder

HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))


def merge(lorag: Any, project: Any, role: str, out: Path, *options: object) -> Any:
    return lorag("adapters", "merge", role, "--out", out, "--version", "candidate", "--project", project.folder, *options)


def test_a_merged_base_replies_as_the_adapter_did(lorag, project, publish_rewriter, tmp_path: Path) -> None:
    version, out = publish_rewriter(), tmp_path / "merged"
    done = merge(lorag, project, "rewriter", out, "--precision", "fp32", "-o", "json")
    assert done.code == 0, done.err
    record = json.loads((out / "merge.json").read_text())
    assert done.json() == {"folder": str(out), **record}
    assert (record["version"], record["precision"], record["allowed"]) == (version, "fp32", False)
    assert record["layers"] == 6 and record["layer_error"] < 1e-4
    assert record["agreement"]["distance"] < 1e-4
    assert record["parity"]["same"] == 1.0 and record["parity"]["distance"] < 1e-4
    assert record["agreement"]["seconds_merged"] > 0 and record["agreement"]["seconds_unmerged"] > 0
    folder = Registry(project.adapters).resolve(Role.REWRITER, version).folder
    (canary,) = read_canaries(folder)
    beside = LocalEngine(load_weights(resolve_base(str(project.base)), precision=Precision.FP32, device="cpu"))
    beside.load_adapter("x", folder)
    alone = LocalEngine(load_weights(resolve_base(str(out)), precision=Precision.FP32, device="cpu"))
    (tuned,), (bare,) = (beside.generate([Generation(canary.messages, name)]) for name in ("x", None))
    (merged,) = alone.generate([Generation(canary.messages)])
    assert merged == tuned != bare
    card = (out / "README.md").read_text()
    assert f"rewriter {version}" in card and "log-likelihood" in card and "ms a token unmerged" in card
    assert str(project.base) not in card.partition("---\n\n")[0]  # a folder of this machine is no base model elsewhere
    again = merge(lorag, project, "rewriter", out)
    assert again.code == 2 and "is there already; name another folder" in again.error_line


@pytest.fixture
def quantized(project, tiny_adapter, tiny_card) -> str:
    """A rewriter that was recorded on the base in NF4; random weights of 64 dimensions change much when they are quantized."""
    folder, base = tiny_adapter(project.base, 3, Role.REWRITER), resolve_base(str(project.base))
    engine = LocalEngine(load_weights(base, precision=Precision.NF4, compute="float32", device="cpu"))
    engine.load_adapter("x", folder)
    samples = [CanarySample(rewrite.messages(HISTORY, "And at night?"), "Who keeps the key at night?")]
    (folder / CANARY_FILE).write_text(canaries_json(record_canaries(engine, "x", samples)))
    card = tiny_card(folder, base, Role.REWRITER)
    card = dataclasses.replace(card, identity=dataclasses.replace(card.identity, precision="nf4/float32"))
    return Registry(project.adapters).publish(Role.REWRITER, folder, card).id


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "dev").mkdir(parents=True)
    rows = [
        {"id": f"d{n}", "history": ["User: Who keeps the key?"], "question": q, "rewrite": f"Who keeps the key {q}"}
        for n, q in enumerate(("at night?", "at noon?", "on Sunday?"))
    ]
    (folder / "dev" / "rewriter.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_a_quantized_adapter_must_pass_a_parity_set(lorag, project, quantized, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    done = merge(lorag, project, "rewriter", out, "--precision", "fp32")
    assert done.code == 2
    assert (
        f"rewriter {quantized} was trained on a nf4/float32 base" in done.error_line and "give --data FOLDER" in done.error_line
    )
    done = merge(lorag, project, "rewriter", out, "--precision", "fp32", "--data", data)
    assert done.code == 2, done.out
    refusal = done.err.splitlines()[-1]
    assert "merged into fp32 does not do what it did" in refusal and "greedy replies the same (at least 50%)" in refusal
    assert not out.exists() and not [path for path in tmp_path.iterdir() if path.name.startswith(".merged")]


def test_a_difference_that_is_allowed_stands_on_the_card(lorag, project, quantized, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    done = merge(lorag, project, "rewriter", out, "--precision", "fp32", "--data", data, "--allow-difference")
    assert done.code == 0, done.err
    record = json.loads((out / "merge.json").read_text())
    assert record["allowed"] and record["parity"]["samples"] == 4
    assert record["agreement"]["distance"] < 1e-3  # the merge itself is right: it is the base that differs
    assert "whoever merged it allowed that" in (out / "README.md").read_text()


def test_an_adapter_whose_training_is_not_known_is_refused(lorag, project, quantized, data: Path, tmp_path: Path) -> None:
    registry = Registry(project.adapters)
    folder, card = registry.resolve(Role.REWRITER, quantized).folder, registry.show(Role.REWRITER, quantized)
    for said in (NOT_KNOWN, "nf4/fast"):
        unknown = dataclasses.replace(card, identity=dataclasses.replace(card.identity, precision=said))
        registry.publish(Role.REWRITER, folder, unknown)
        for options in ((), ("--data", data)):
            done = merge(lorag, project, "rewriter", tmp_path / "merged", *options)
            assert done.code == 2, done.err
            assert f"trained on is {said!r}" in done.error_line and "import it again with --precision" in done.error_line


@pytest.mark.parametrize("most", [2, 40])
def test_as_many_questions_are_compared_on_as_are_asked_for(project, tmp_path: Path, most: int) -> None:
    folder = tmp_path / "questions"
    (folder / "dev").mkdir(parents=True)
    (folder / "passages.jsonl").write_text(json.dumps({"id": "a.md#1", "title": "Key", "text": "The porter keeps it."}) + "\n")
    rows = [
        {"id": f"q{n}", "question": f"Who keeps key {n}?", "answers": ["The porter"], "passage_ids": ["a.md#1"]}
        for n in range(45)
    ]
    (folder / "dev" / "synthesizer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = parity_rows(load_settings(project.folder), Role.SYNTHESIZER, DataFolder(folder, {}), most)
    assert len(found) == most and all(f"key {n}?" in sample.messages[-1].content for n, sample in enumerate(found))


def test_a_merged_encoder_gives_the_tuned_vectors(lorag, project, publish_embedder, tmp_path: Path) -> None:
    version, out = publish_embedder(), tmp_path / "merged"
    done = merge(lorag, project, "embedder", out, "-o", "json")
    assert done.code == 0, done.err
    record = done.json()
    assert (record["precision"], record["parity"]) == ("fp32", None)
    assert record["agreement"]["distance"] < 1e-5
    folder = Registry(project.adapters).resolve(Role.EMBEDDER, version).folder
    texts = ["Where does the ferry leave?", "Who keeps the key?"]
    tuned = SentenceTransformerEmbedder(str(project.encoder), adapter=folder).embed_queries(texts)
    bare = SentenceTransformerEmbedder(str(project.encoder)).embed_queries(texts)
    merged = SentenceTransformerEmbedder(str(out)).embed_queries(texts)
    np.testing.assert_allclose(merged, tuned, atol=1e-5)
    assert np.abs(merged - bare).max() > 1e-3


def test_a_query_side_adapter_is_not_merged(lorag, project, tiny_adapter, tiny_card, publish_embedder, tmp_path: Path) -> None:
    version = publish_embedder()
    registry = Registry(project.adapters)
    folder, card = registry.resolve(Role.EMBEDDER, version).folder, registry.show(Role.EMBEDDER, version)
    one_sided = dataclasses.replace(card, identity=dataclasses.replace(card.identity, query_side_only=True))
    registry.publish(Role.EMBEDDER, folder, one_sided)
    done = merge(lorag, project, "embedder", tmp_path / "merged")
    assert done.code == 2 and "a merged encoder would move the passages too" in done.error_line
