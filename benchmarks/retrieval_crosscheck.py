"""Are LoRAG's retrieval figures right? The same embedder once through `evaluate_beir`, once through a plain loop.

    python -m benchmarks.retrieval_crosscheck --data FOLDER [--sets cisi,pubmedqa] [--out FILE]

The plain side knows nothing of LoRAG: sentence-transformers encodes, numpy multiplies one query at a time, pytrec_eval scores.
FOLDER holds the public collections as `NAME.passages.jsonl.gz` with `NAME.train.jsonl.gz` (one gold passage a question) or
`NAME.queries.jsonl.gz` and `NAME.qrels.jsonl.gz`. All six figures must agree to four digits; the command fails if they do
not. Sets that FILE holds already are not measured again, so it can be stopped and run again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.evaluation.beir import QRELS_HEADER
from lorag.pipeline.evaluation.retrieval import evaluate_beir
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder, resolve_model

SETS = ("cisi", "pubmedqa", "squad_newwiki", "qed_nq", "squad_reddit", "medquad")
MOST_QUERIES = {"medquad": 500}
"""Sets of which only a fixed random part of the queries is used; all passages are searched."""

ENCODED_TWICE = 200
"""Number of random passages that the plain side encodes itself; the rest are LoRAG's vectors."""

SAME = 1e-5
"""Largest difference of a vector's entries at which two encodings count as equal."""

MODEL = "minilm"
K = 10
SEED = 0
NAMES = {
    f"nDCG@{K}": f"ndcg_cut_{K}",
    f"Recall@{K}": f"recall_{K}",
    f"P@{K}": f"P_{K}",
    f"MRR@{K}": "recip_rank",
    f"MAP@{K}": f"map_cut_{K}",
    f"Success@{K}": f"success_{K}",
}
"""LoRAG's metric → trec_eval's. The plain run is cut at K, so `recip_rank` is that at K."""

Texts = dict[str, str]
Qrels = dict[str, dict[str, int]]
Vectors = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "retrieval_crosscheck.json")
    options = parser.parse_args()
    done: dict[str, Any] = json.loads(options.out.read_text())["sets"] if options.out.exists() else {}
    embedder = SentenceTransformerEmbedder(MODEL)
    for name in options.sets.split(","):
        if name in done:
            print(f"{name}: in {options.out} already")
            continue
        done[name] = check(name, options.data, embedder)
        save(options.out, embedder, done)
        show(name, done[name])
    apart = [name for name, found in done.items() if not found["agree"]]
    sys.exit(f"figures differ: {', '.join(apart)}" if apart else 0)


def check(name: str, data: Path, embedder: SentenceTransformerEmbedder) -> dict[str, Any]:
    passages, queries, qrels = read(name, data)
    started = time.monotonic()
    recorder = RecordingEmbedder(embedder)
    with tempfile.TemporaryDirectory() as folder:
        write_beir(Path(folder), passages, queries, qrels)
        lorag = evaluate_beir(Path(folder), recorder, K).scores
    vectors, encoded = plain_vectors(passages, queries, recorder)
    plain = plain_scores(passages, queries, qrels, *vectors)
    return {
        "passages": len(passages),
        "queries": len(queries),
        "lorag": {metric: round(value, 6) for metric, value in lorag.means.items()},
        "plain": {metric: round(value, 6) for metric, value in plain.items()},
        "agree": all(f"{lorag.means[metric]:.4f}" == f"{plain[metric]:.4f}" for metric in NAMES),
        "passages_encoded_twice": encoded,
        "seconds": round(time.monotonic() - started, 1),
    }


def read(name: str, data: Path) -> tuple[Texts, Texts, Qrels]:
    """Passages (title and text joined), queries and judgments."""
    passages = {row["id"]: f"{row['title']} {row['text']}".strip() for row in rows(data / f"{name}.passages.jsonl.gz")}
    qrels: Qrels = {}
    if (data / f"{name}.qrels.jsonl.gz").exists():
        queries = {row["id"]: row["question"] for row in rows(data / f"{name}.queries.jsonl.gz")}
        for row in rows(data / f"{name}.qrels.jsonl.gz"):
            qrels.setdefault(row["query_id"], {})[row["passage_id"]] = row["relevance"]
    else:
        asked = [row for row in rows(data / f"{name}.train.jsonl.gz") if row["answerable"]]
        most = MOST_QUERIES.get(name, len(asked))
        asked = random.Random(SEED).sample(asked, min(most, len(asked))) if most < len(asked) else asked
        queries = {row["id"]: row["question"] for row in asked}
        qrels = {row["id"]: {row["passage_id"]: 1} for row in asked}
    return passages, {query: queries[query] for query in qrels}, qrels


def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_beir(folder: Path, passages: Texts, queries: Texts, qrels: Qrels) -> None:
    for file, texts in (("corpus.jsonl", passages), ("queries.jsonl", queries)):
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items())
        (folder / file).write_text("".join(lines), encoding="utf-8")
    (folder / "qrels").mkdir()
    judged = (f"{query}\t{passage}\t{grade}\n" for query, found in qrels.items() for passage, grade in found.items())
    (folder / "qrels" / "test.tsv").write_text("\t".join(QRELS_HEADER) + "\n" + "".join(judged), encoding="utf-8")


class RecordingEmbedder:
    """The embedder, recording the vectors it returns."""

    def __init__(self, embedder: SentenceTransformerEmbedder) -> None:
        self._embedder = embedder
        self.identity, self.dimension = embedder.identity, embedder.dimension
        self.count_tokens = embedder.count_tokens
        self.query_tokens, self.passage_tokens = embedder.query_tokens, embedder.passage_tokens
        self.passages: list[Vectors] = []
        self.queries: list[Vectors] = []

    def embed_passages(self, texts: Any) -> Vectors:
        self.passages.append(self._embedder.embed_passages(texts))
        return self.passages[-1]

    def embed_queries(self, texts: Any) -> Vectors:
        self.queries.append(self._embedder.embed_queries(texts))
        return self.queries[-1]


def plain_vectors(passages: Texts, queries: Texts, recorder: RecordingEmbedder) -> tuple[tuple[Vectors, Vectors], int]:
    """Vectors of passages and queries by sentence-transformers alone, and how many of the passages it encoded.

    In a large set it encodes a random part. The command stops if a vector differs from LoRAG's.
    """
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(str(resolve_model(MODEL)), device="cpu")
    if "message" not in model[0].modality_config:  # it has no chat template, whose own special tokens it would need
        model.tokenizer.split_special_tokens = True  # a special token in a text is text, as in LoRAG

    def encode(texts: list[str]) -> Vectors:
        return np.asarray(model.encode(texts, normalize_embeddings=True, show_progress_bar=False), dtype=np.float32)

    texts, lorag_vectors = list(passages.values()), np.concatenate(recorder.passages)
    chosen = sorted(random.Random(SEED).sample(range(len(texts)), min(ENCODED_TWICE, len(texts))))
    plain = lorag_vectors.copy()
    plain[chosen] = encode([texts[at] for at in chosen])
    if (apart := float(np.abs(plain - lorag_vectors).max())) > SAME:
        sys.exit(f"vectors differ by {apart:.2g}: the two sides do not use the same encoder")
    return (plain, encode(list(queries.values()))), len(chosen)


def plain_scores(passages: Texts, queries: Texts, qrels: Qrels, of_passages: Vectors, of_queries: Vectors) -> dict[str, float]:
    import pytrec_eval

    ids = np.array(list(passages))
    run: dict[str, dict[str, float]] = {}
    for query, vector in zip(queries, of_queries, strict=True):
        scores = of_passages @ vector
        best = np.argsort(-scores)[:K]
        run[query] = {str(ids[at]): float(scores[at]) for at in best}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut", "recall", "P", "recip_rank", "map_cut", "success"})
    found: Mapping[str, Mapping[str, float]] = evaluator.evaluate(run)
    return {name: float(np.mean([found[query][measure] for query in qrels])) for name, measure in NAMES.items()}


def save(path: Path, embedder: SentenceTransformerEmbedder, done: Mapping[str, Any]) -> None:
    libraries = {
        name: version(name) for name in ("sentence-transformers", "torch", "numpy", "ir-measures", "pytrec-eval-terrier")
    }
    content = {
        "model": embedder.identity.describe(),
        "k": K,
        "seed": SEED,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in libraries},
        "sets": dict(done),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def show(name: str, found: Mapping[str, Any]) -> None:
    print(f"{name}: {found['passages']} passages, {found['queries']} queries, {'agree' if found['agree'] else 'DIFFER'}")
    for metric in NAMES:
        print(f"  {metric:<11} LoRAG {found['lorag'][metric]:.4f}   plain {found['plain'][metric]:.4f}", flush=True)


if __name__ == "__main__":
    main()
