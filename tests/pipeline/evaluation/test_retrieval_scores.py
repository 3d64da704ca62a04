"""Retrieval metrics against hand-worked numbers and a plain loop; the BEIR reader and exhaustive search."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.evaluation.beir import read_beir
from lorag.pipeline.evaluation.retrieval import default_metrics, evaluate_beir, score_run
from lorag.pipeline.evaluation.searching import Embedded, search
from lorag.pipeline.evaluation.trec import Scored
from lorag.pipeline.records import Hit
from lorag.pipeline.retrieval.token_vectors import TokenVectors


def ranking(*passages: str) -> tuple[Scored, ...]:
    return tuple(Scored(passage, -float(place)) for place, passage in enumerate(passages))


QRELS = {"q1": {"a": 2, "b": 1, "d": 0}, "q2": {"c": 1}, "q3": {"a": 1, "e": 1}}
RUN = {"q1": ranking("b", "d", "a"), "q3": ranking("x", "e", "y"), "q9": ranking("a")}
Q1_NDCG = (1 / math.log2(2) + 2 / math.log2(4)) / (2 / math.log2(2) + 1 / math.log2(3))
Q3_NDCG = (1 / math.log2(3)) / (1 / math.log2(2) + 1 / math.log2(3))


@pytest.mark.parametrize(
    ("metric", "q1", "q3"),
    [
        ("nDCG@10", Q1_NDCG, Q3_NDCG),
        ("nDCG@1", 1 / 2, 0.0),
        ("Recall@2", 1 / 2, 1 / 2),
        ("Recall@3", 1.0, 1 / 2),
        ("P@2", 1 / 2, 1 / 2),
        ("P@10", 2 / 10, 1 / 10),
        ("MRR@10", 1.0, 1 / 2),
        ("MRR@1", 1.0, 0.0),
        ("MAP", (1 + 2 / 3) / 2, (1 / 2) / 2),
        ("MAP@2", 1 / 2, (1 / 2) / 2),
        ("Success@1", 1.0, 0.0),
        ("Success@3", 1.0, 1.0),
    ],
)
def test_metrics_by_hand_and_a_query_without_results_counts_as_zero(metric: str, q1: float, q3: float) -> None:
    scores = score_run(QRELS, RUN, [metric])
    assert scores.per_query[metric] == pytest.approx({"q1": q1, "q2": 0.0, "q3": q3})
    assert scores.means[metric] == pytest.approx((q1 + 0 + q3) / 3)
    assert (scores.queries, scores.without_results, scores.not_judged) == (3, ("q2",), ("q9",))


def test_the_json_shape() -> None:
    perfect = score_run({"q": {"a": 1}}, {"q": ranking("a")}, default_metrics(10))
    figures = {"nDCG@10": 1.0, "Recall@10": 1.0, "P@10": 0.1, "MRR@10": 1.0, "MAP@10": 1.0, "Success@10": 1.0}
    assert perfect.to_json() == {"metrics": pytest.approx(figures), "queries": 1, "without_results": [], "not_judged": []}


def test_the_order_of_a_ranking_counts_and_equal_scores_change_nothing() -> None:
    tied = {"q": (Scored("a", 0.5), Scored("z", 0.5), Scored("m", 0.5))}
    scores = score_run({"q": {"z": 1}}, tied, ["MRR@10", "nDCG@10", "MAP"])
    assert scores.means == pytest.approx({"MRR@10": 1 / 2, "nDCG@10": 1 / math.log2(3), "MAP": 1 / 2})


@pytest.mark.parametrize("name", ["nDCG@0", "Recall", "P", "Success@-1", "Hits@5", "MRR@ten", "nDCG@"])
def test_an_unknown_metric_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="unknown retrieval metric"):
        score_run(QRELS, RUN, [name])


def test_a_passage_twice_in_a_ranking_and_empty_judgments_are_refused() -> None:
    with pytest.raises(InputError, match="query 'q1': a passage stands twice"):
        score_run(QRELS, {"q1": ranking("a", "a")}, ["MAP"])
    with pytest.raises(InputError, match="no relevance judgments"):
        score_run({}, RUN, ["MAP"])


def plain_ndcg(relevances: dict[str, int], ranked: list[str], k: int) -> float:
    gains = [relevances.get(passage, 0) for passage in ranked[:k]]
    best = sorted(relevances.values(), reverse=True)[:k]
    ideal = sum(gain / math.log2(place + 2) for place, gain in enumerate(best))
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains)) / ideal


def test_search_and_scores_agree_with_a_plain_loop() -> None:
    rng = np.random.default_rng(7)
    passages = rng.normal(size=(60, 8)).astype(np.float32)
    queries = rng.normal(size=(12, 8)).astype(np.float32)
    passage_ids, query_ids = [f"p{at}" for at in range(60)], [f"q{at}" for at in range(12)]
    qrels = {name: {f"p{at}": int(rng.integers(1, 3)) for at in rng.choice(60, 4, replace=False)} for name in query_ids}
    run = search(Embedded(query_ids, queries, passage_ids, passages), 10)
    scores = score_run(qrels, run, ["nDCG@10", "Recall@10", "MRR@10"])
    for query, vector in zip(query_ids, queries, strict=True):
        products = [
            (sum(float(a) * float(b) for a, b in zip(vector, row, strict=True)), name)
            for row, name in zip(passages, passage_ids, strict=True)
        ]
        ranked = [name for _, name in sorted(products, reverse=True)]
        assert [scored.passage_id for scored in run[query]] == ranked[:10]
        found = [place for place, name in enumerate(ranked[:10], start=1) if name in qrels[query]]
        assert scores.per_query["nDCG@10"][query] == pytest.approx(plain_ndcg(qrels[query], ranked, 10), abs=1e-6)
        assert scores.per_query["Recall@10"][query] == pytest.approx(len(found) / 4)
        assert scores.per_query["MRR@10"][query] == pytest.approx(1 / found[0] if found else 0.0)


def test_search_breaks_ties_at_the_edge_by_id_and_takes_a_small_collection_whole() -> None:
    same = np.ones((3, 2), dtype=np.float32)
    one = np.ones((1, 2), dtype=np.float32)
    assert [scored.passage_id for scored in search(Embedded(["q"], one, ["a", "c", "b"], same), 2)["q"]] == ["c", "b"]
    assert len(search(Embedded(["q"], one, ["a", "c", "b"], same), 10)["q"]) == 3
    with pytest.raises(InputError, match=r"2 passage ids but vectors of shape \(3, 2\)"):
        Embedded(["q"], one, ["a", "b"], same)


WORDS = ("alpha", "beta", "gamma")


class WordEmbedder:
    """Counts three words; enough to search a made collection."""

    def embed_queries(self, texts: list[str]) -> NDArray[np.float32]:
        counts = np.array([[text.lower().split().count(word) for word in WORDS] for text in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)

    embed_passages = embed_queries

    def query_tokens(self, texts: list[str]) -> list[TokenVectors]:
        found = [[word for word in text.lower().split() if word in WORDS] for text in texts]
        return [
            TokenVectors(
                np.array([WORDS.index(word) for word in words], dtype=np.int64), self.embed_queries(["alpha", *words])[1:]
            )
            for words in found
        ]

    passage_tokens = query_tokens


CORPUS = [
    {"_id": "p1", "title": "Alpha", "text": "beta"},
    {"_id": "p2", "title": "", "text": "gamma gamma"},
    {"_id": "p3", "text": "beta"},
]
QUERIES = [{"_id": "q1", "text": "alpha beta"}, {"_id": "q2", "text": "gamma"}, {"_id": "other", "text": "beta"}]
QRELS_TSV = "query-id\tcorpus-id\tscore\nq1\tp3\t1\nq2\tp2\t1\n"


def write_collection(folder: Path, qrels: str = QRELS_TSV, split: str = "test") -> Path:
    (folder / "qrels").mkdir()
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CORPUS))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUERIES))
    (folder / "qrels" / f"{split}.tsv").write_text(qrels)
    return folder


def test_a_beir_folder_is_read_and_evaluated(tmp_path: Path) -> None:
    folder = write_collection(tmp_path)
    collection = read_beir(folder)
    assert collection.passages == {"p1": "Alpha beta", "p2": "gamma gamma", "p3": "beta"}
    assert collection.queries == {"q1": "alpha beta", "q2": "gamma"}
    calls: list[tuple[int, int]] = []
    result = evaluate_beir(folder, WordEmbedder(), k=2, progress=lambda done, total: calls.append((done, total)))
    # q1: p1 (cosine 1) before its gold p3 (cosine 0.71); q2: gold p2 first
    figures = {
        "nDCG@2": (1 / math.log2(3) + 1) / 2,
        "Recall@2": 1.0,
        "P@2": 0.5,
        "MRR@2": 3 / 4,
        "MAP@2": 3 / 4,
        "Success@2": 1.0,
    }
    assert result.scores.means == pytest.approx(figures)
    assert [scored.passage_id for scored in result.run["q1"]] == ["p1", "p3"]
    assert calls == [(3, 5), (5, 5)]


def test_words_lift_what_vectors_miss(tmp_path: Path) -> None:
    """By vectors p2 comes last for q1, whose only gold it is; by words it alone holds `zebra`, which lifts it to the top."""
    folder = write_collection(tmp_path, "query-id\tcorpus-id\tscore\nq1\tp2\t1\n")
    corpus = [{"_id": "p1", "text": "alpha beta"}, {"_id": "p2", "text": "gamma zebra"}, {"_id": "p3", "text": "beta"}]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "alpha beta beta zebra"}) + "\n")
    dense = evaluate_beir(folder, WordEmbedder(), k=3)
    assert [scored.passage_id for scored in dense.run["q1"]] == ["p1", "p3", "p2"]
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "zebra"}) + "\n")
    fused = evaluate_beir(folder, WordEmbedder(), k=3, hybrid=True)
    assert fused.run["q1"][0].passage_id == "p2"
    assert fused.scores.means["MRR@3"] == 1.0


class ByLength:
    """Prefers short passages; keeps what it was asked."""

    def __init__(self) -> None:
        self.pools: list[int] = []

    def rerank(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        self.pools.append(len(hits))
        return sorted((replace(hit, score=-float(len(hit.passage.text))) for hit in hits), key=lambda hit: -hit.score)[:k]


def test_a_reranker_chooses_from_more_than_k(tmp_path: Path) -> None:
    folder, reranker = write_collection(tmp_path), ByLength()
    result = evaluate_beir(folder, WordEmbedder(), k=1, reranker=reranker)
    assert reranker.pools == [3, 3]  # all passages: fewer than the pool
    assert {query: [s.passage_id for s in found] for query, found in result.run.items()} == {"q1": ["p3"], "q2": ["p3"]}
    assert result.scores.per_query["MRR@1"] == {"q1": 1.0, "q2": 0.0}


def test_a_passage_with_the_querys_own_id_can_be_left_out(tmp_path: Path) -> None:
    folder = write_collection(tmp_path, "query-id\tcorpus-id\tscore\np1\tp3\t1\n")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "p1", "text": "alpha beta"}) + "\n")
    assert evaluate_beir(folder, WordEmbedder(), k=1).scores.means["MRR@1"] == 0.0
    assert evaluate_beir(folder, WordEmbedder(), k=1, ignore_same_id=True).scores.means["MRR@1"] == 1.0


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("corpus.jsonl", '{"_id": "p1", "text": "a"}\n{"_id": "p2", "te\n', "corpus.jsonl:2: not JSON"),
        ("corpus.jsonl", "[1]\n", "corpus.jsonl:1: a JSON object is expected"),
        ("corpus.jsonl", '{"_id": 7, "text": "a"}\n', "corpus.jsonl:1: `_id` must be a string, found 7"),
        ("corpus.jsonl", '{"_id": "p1"}\n', "corpus.jsonl:1: `text` must be a string, found null"),
        ("corpus.jsonl", '{"_id": "p", "text": "a"}\n{"_id": "p", "text": "b"}\n', "corpus.jsonl:2: `_id` 'p' is used twice"),
        ("queries.jsonl", "\n", "queries.jsonl: has no rows"),
        ("qrels/test.tsv", "q1\tp1\t1\n", "test.tsv:1: the first line must be"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1 p1 1\n", "test.tsv:2: 1 fields"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq7\tp1\t1\n", "test.tsv:2: query 'q7' is not in queries.jsonl"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tp7\t1\n", "test.tsv:2: passage 'p7' is not in corpus.jsonl"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tp1\tyes\n", "test.tsv:2: relevance 'yes' is not an integer"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "test.tsv: has no judgments"),
    ],
)
def test_a_broken_beir_file_is_refused_with_its_line(tmp_path: Path, file: str, text: str, says: str) -> None:
    folder = write_collection(tmp_path)
    (folder / file).write_text(text)
    with pytest.raises(DataError, match=says):
        read_beir(folder)


def test_a_missing_split_names_those_that_are_there(tmp_path: Path) -> None:
    folder = write_collection(tmp_path, split="dev")
    with pytest.raises(DataError, match="test.tsv: not found; splits here: dev"):
        read_beir(folder)
    with pytest.raises(InputError, match="k is 0"):
        evaluate_beir(folder, WordEmbedder(), k=0)


def test_a_ranking_by_nan_is_refused_by_name_and_not_scored() -> None:
    with pytest.raises(InputError, match=r"query 'q2': a score of its ranking is NaN or infinite"):
        score_run({"q1": {"a": 1}, "q2": {"a": 1}}, {"q1": (Scored("a", 1.0),), "q2": (Scored("a", float("nan")),)}, ["nDCG@10"])
    one, broken = np.ones((2, 3), np.float32), np.array([[1, 1, 1], [1, np.nan, 1]], np.float32)
    with pytest.raises(InputError, match=r"1 query vectors hold NaN or infinity, such as that of 'q2'"):
        Embedded(("q1", "q2"), broken, ("a", "b"), one)
    with pytest.raises(InputError, match=r"1 passage vectors hold NaN or infinity, such as that of 'b'"):
        Embedded(("q1", "q2"), one, ("a", "b"), broken)
