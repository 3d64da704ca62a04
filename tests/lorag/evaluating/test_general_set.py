"""What tuning cost on a set of another domain: both forms of set, the claim on the card, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorag.evaluating.general_set import measure_general, read_general
from lorag.pipeline.adapters.evidence import BARE_BASE, DataOrigin, EvidenceData, EvidenceKind
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import load_settings
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder

TEXTS = {"p1": "the porter keeps the key", "p2": "the ferry leaves at night", "p3": "the bell is rung twice"}
QUERIES = {"q1": ("who keeps the key", "p1"), "q2": ("when does the ferry leave", "p2"), "q3": ("how often the bell", "p3")}


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "harbours"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": k, "text": t}) + "\n" for k, t in TEXTS.items()))
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": k, "text": q}) + "\n" for k, (q, _) in QUERIES.items()))
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"{k}\t{p}\t1\n" for k, (_, p) in QUERIES.items())
    )
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """The same set as a data folder; the first two questions belong together."""
    folder = tmp_path / "harbours-rows"
    (folder / "test").mkdir(parents=True)
    passages = [{"id": k, "title": "", "text": t} for k, t in TEXTS.items()]
    (folder / "passages.jsonl").write_text("".join(json.dumps(passage) + "\n" for passage in passages))
    groups = {"q1": {"group": "one"}, "q2": {"group": "one"}, "q3": {}}
    lines = [{"query_id": k, "query": q, "positive_ids": [p], **groups[k]} for k, (q, p) in QUERIES.items()]
    (folder / "test" / "embedder.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_both_forms_of_a_set_hold_the_same(beir: Path, rows: Path) -> None:
    one, other = read_general(beir), read_general(rows)
    assert one.collection == other.collection
    assert (one.groups, other.groups) == ({}, {"q1": "one", "q2": "one"})


def test_the_claim_stands_beside_the_adapters_own_evidence(project, publish_embedder, beir: Path) -> None:
    version, registry = publish_embedder(), Registry(project.adapters)
    own = registry.show(Role.EMBEDDER, version).evidence
    settings = load_settings(project.folder)
    found, evidence = measure_general(settings, "candidate", read_general(beir))
    assert found.id == version
    card = registry.show(Role.EMBEDDER, version)
    assert card.evidence == (evidence, *own)
    assert (evidence.metric, evidence.n, evidence.groups) == ("nDCG@10", 3, 3)
    assert (evidence.kind, evidence.against) == (EvidenceKind.GENERAL, BARE_BASE)
    assert evidence.data == EvidenceData("harbours", read_general(beir).digest, DataOrigin.HUMAN)
    bare = SentenceTransformerEmbedder(str(project.encoder))
    assert evidence.reference == pytest.approx(_ndcg(bare))
    assert evidence.tuned == pytest.approx(_ndcg(SentenceTransformerEmbedder(str(project.encoder), adapter=found.folder)))
    assert evidence.difference == pytest.approx(evidence.tuned - evidence.reference) and evidence.low <= evidence.difference
    measure_general(settings, version, read_general(beir))
    assert registry.show(Role.EMBEDDER, version).evidence == (evidence, *own)  # measured again, it stands there once


def _ndcg(embedder: SentenceTransformerEmbedder) -> float:
    """By hand: one gold passage a query, so 1 / log2(1 + place)."""
    import numpy as np

    queries, passages = embedder.embed_queries([q for q, _ in QUERIES.values()]), embedder.embed_passages(list(TEXTS.values()))
    order = np.argsort(-queries @ passages.T)
    places = [list(line).index(n) + 1 for n, line in enumerate(order)]
    return float(np.mean([1 / np.log2(1 + place) for place in places]))


def test_a_digest_is_of_the_files_of_the_set(beir: Path, rows: Path) -> None:
    before = read_general(beir).digest, read_general(rows).digest
    (beir / "README.md").write_text("Not of the set.")
    assert read_general(beir).digest == before[0] != before[1]
    for changed in (beir / "qrels" / "test.tsv", rows / "test" / "embedder.jsonl"):
        changed.write_text(changed.read_text().rstrip("\n"))
    assert before[0] != read_general(beir).digest and before[1] != read_general(rows).digest


def test_the_command_refuses_what_cannot_be_before_it_measures(lorag, project, tmp_path: Path) -> None:
    here = ("--data", tmp_path, "--project", project.folder)
    done = lorag("eval", "adapter", "rewriter", *here, "--general", tmp_path)
    assert done.code == 2 and "--general is for the embedder" in done.error_line
    done = lorag("eval", "adapter", "embedder", *here, "--general", tmp_path)
    assert done.code == 2 and "no general set" in done.error_line
