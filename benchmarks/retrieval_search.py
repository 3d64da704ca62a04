"""Which search finds most: words, words with the history, vectors, sums of their ranks, and weighted sums with late interaction.

    python -m benchmarks.retrieval_search --work DIR --data DIR [--sets example squad_newwiki] [--adapter FOLDER]

Weights are chosen on dev questions, and each set's test questions are looked at once, with the weights chosen and with the
defaults. Of the example domain these are 360 fixed items; its turns are rewritten by the bundled rewriter.
Public sets are cut in two halves by gold passage. Differences are paired question by question against the best searcher of one
kind, by groups of documents. Each set's result is stored under --work; the same command resumes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lorag
from benchmarks.provenance import provenance, save
from benchmarks.starter_training.sources import read_rows
from lorag.assembly import open_base
from lorag.bundled import EXAMPLE, example_folder
from lorag.evaluating.testset import Sizes, read_tests
from lorag.pipeline.adapters.registry import CANDIDATE
from lorag.pipeline.evaluation.ablation import ChainItem
from lorag.pipeline.evaluation.floors.words import WordIndex
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.search_weights import GRID, ChosenWeights, choose_weights
from lorag.pipeline.evaluation.significance import paired_difference
from lorag.pipeline.evaluation.trec import Scored
from lorag.pipeline.records import Passage, Role
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import Embedder, SentenceTransformerEmbedder, passage_text
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.weights import SearchWeights
from lorag.pipeline.stages import Rewriter
from lorag.pipeline.stages.retriever import CONTEXT_CHARS
from lorag.training.data.rows import PassageRow
from lorag.training.dataset import DataFolder
from lorag.training.passage_search import as_passage

EXAMPLE_SET = "example"
SIZES = Sizes(questions=66, unanswerable=18, turns=48, judgments=36)
"""The 360 test items of the example domain that all figures of the training log are of."""

PUBLIC = ("squad_newwiki", "squad_reddit", "cisi", "qed_nq", "medquad", "pubmedqa", "pacific_finance")
METRICS = ("nDCG@10", "Recall@5")
QUESTIONS = 240
PASSAGES = 500
"""Questions and passages that are drawn of a larger public set; its gold passages are always there."""

CACHE = 1 << 30
"""Bytes for token vectors: those of a set's passages fit, so each is read once."""

PROGRESS = 50
BM25, HISTORY, VECTORS = "BM25", "BM25, history before the turn", "vectors"
DEFAULT, CHOSEN = "default weights", "weights chosen on dev"


@dataclass(frozen=True, slots=True)
class Question:
    """`text` is what is searched for, `words` the question with the history before it."""

    id: str
    text: str
    words: str
    raw: str
    gold: tuple[str, ...]
    group: str

    @property
    def context(self) -> str:
        """What the retriever stage gives to the search beside the question."""
        return self.words[-CONTEXT_CHARS:] if self.words != self.raw else ""


@dataclass(frozen=True, slots=True)
class SearchSet:
    """Passages, and the questions of both halves."""

    name: str
    passages: tuple[Passage, ...]
    dev: tuple[Question, ...]
    test: tuple[Question, ...]


def example(domain: Path, rewrites: Mapping[str, str]) -> SearchSet:
    """The domain, with the `rewrites` of its turns by id."""
    data = DataFolder(domain, {})
    halves = {
        split: tuple(_asked(item, rewrites) for item in _items(data, split) if item.gold.passage_ids) for split in ("dev", "test")
    }
    return SearchSet(EXAMPLE_SET, tuple(as_passage(row) for row in data.passages().values()), halves["dev"], halves["test"])


def _items(data: DataFolder, split: str) -> tuple[ChainItem, ...]:
    roles = (Role.REWRITER, Role.EMBEDDER, Role.SYNTHESIZER)
    return read_tests(data, SIZES if split == "test" else Sizes(), split, roles).chain


def _asked(item: ChainItem, rewrites: Mapping[str, str]) -> Question:
    query, gold = item.query, item.gold
    history = " ".join([*(turn.text for turn in query.history), query.question])
    return Question(gold.id, rewrites.get(gold.id, query.question), history, query.question, gold.passage_ids, gold.group)


def rewritten(domain: Path, work: Path) -> dict[str, str]:
    """The bundled rewriter's rewrites of the domain's dev and test turns, made once."""
    file = work / "rewrites.json"
    if file.exists():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    data = DataFolder(domain, {})
    items = [item for split in ("dev", "test") for item in _items(data, split) if item.query.history]
    with lorag.init(work / "project", domain / "documents") as project:
        adapters = project.settings.adapters.model_copy(update={"rewriter": CANDIDATE})
        base = open_base(project.settings.model_copy(update={"adapters": adapters}), (Role.REWRITER,))
    made = Rewriter(base.engine, base.adapters[Role.REWRITER]).rewrite([item.query for item in items])
    found = {item.gold.id: rewrite.question for item, rewrite in zip(items, made, strict=True)}
    save(file, found)
    return found


def public(folder: Path, name: str) -> SearchSet:
    """A public set, questions and passages drawn at random if there are more than are wanted."""
    draw = random.Random(0)
    rows = list(read_rows(folder, f"{name}.passages"))
    if name == "cisi":
        relevant: dict[str, list[str]] = {}
        for row in read_rows(folder, "cisi.qrels"):
            relevant.setdefault(row["query_id"], []).append(row["passage_id"])
        asked = [(row["id"], row["question"], tuple(relevant[row["id"]])) for row in read_rows(folder, "cisi.queries")]
    else:
        asked = [
            (row["id"], row.get("standalone") or row["question"], tuple(row.get("passage_ids") or [row["passage_id"]]))
            for row in read_rows(folder, f"{name}.train")
            if row["answerable"]
        ]
    chosen = draw.sample(asked, min(QUESTIONS, len(asked)))
    gold = {id_ for _, _, found in chosen for id_ in found}
    others = [row for row in rows if row["id"] not in gold]
    if len(rows) > PASSAGES:
        others = draw.sample(others, max(0, PASSAGES - len(gold)))
    kept = {*gold, *(row["id"] for row in others)}
    passages = [as_passage(PassageRow(row["id"], row["title"], row["text"])) for row in rows if row["id"] in kept]
    halves: tuple[list[Question], list[Question]] = ([], [])
    for id_, text, found in chosen:
        group = id_ if name == "cisi" else found[0]
        half = int(hashlib.sha256(group.encode()).hexdigest(), 16) % 2
        halves[half].append(Question(id_, text, text, text, found, group))
    return SearchSet(name, tuple(passages), tuple(halves[0]), tuple(halves[1]))


class Searches:
    """The rankings of a set's questions, each with its scores by metric and question, in order."""

    def __init__(self, index: Index, passages: Sequence[Passage]) -> None:
        self._index = index.remembering()
        self._words = WordIndex({passage.id: passage_text(passage) for passage in passages})

    def weighted(self, questions: Sequence[Question], *weights: SearchWeights) -> list[dict[str, list[float]]]:
        """The scores with each of `weights`. A question is searched for with all of them before the next."""
        searches = [(self._index.weighted(each), dict[str, list[str]]()) for each in weights]
        for done, question in enumerate(questions, 1):
            for index, found in searches:
                (hits,) = index.search_many([question.text], 10, contexts=[question.context])
                found[question.id] = [hit.passage.id for hit in hits]
            if done % PROGRESS == 0:
                print(f"question {done} of {len(questions)}, {len(weights)} weights", file=sys.stderr, flush=True)
        return [_scores(questions, found) for _, found in searches]

    def words(self, questions: Sequence[Question], *, history: bool) -> dict[str, list[float]]:
        texts = {each.id: each.words if history else each.raw for each in questions}
        return _scores(questions, {id_: [found for found, _ in self._words.search(text, 10)] for id_, text in texts.items()})


def _scores(questions: Sequence[Question], found: Mapping[str, Sequence[str]]) -> dict[str, list[float]]:
    qrels = {each.id: dict.fromkeys(each.gold, 1) for each in questions}
    run = {id_: tuple(Scored(passage, -float(at)) for at, passage in enumerate(ids)) for id_, ids in found.items()}
    scored = score_run(qrels, run, METRICS).per_query
    return {metric: [scored[metric][each.id] for each in questions] for metric in METRICS}


def measure(found: SearchSet, embedder: Embedder) -> dict[str, Any]:
    """The result of one set: the weights chosen on dev, and the test figures of every search."""
    with (
        tempfile.TemporaryDirectory(prefix="lorag-") as folder,
        closing(Index(EdgeStore(Path(folder)), embedder, token_cache=CACHE)) as index,
    ):
        index.replace_all(found.passages)
        searches = Searches(index, found.passages)
        dev = [scores["nDCG@10"] for scores in searches.weighted(found.dev, *GRID)]
        chosen = choose_weights(dict(zip(GRID, dev, strict=True)), [each.group for each in found.dev])
        tests = {BM25: searches.words(found.test, history=False)}
        if any(each.words != each.raw for each in found.test):
            tests[HISTORY] = searches.words(found.test, history=True)
        weights = {VECTORS: SearchWeights(0.0, 1.0, 0.0), DEFAULT: SearchWeights(), CHOSEN: chosen.weights}
        tests |= zip(weights, searches.weighted(found.test, *weights.values()), strict=True)
    return {"set": found.name, "passages": len(found.passages), **_chosen(chosen), **_compared(found, tests)}


def _chosen(chosen: ChosenWeights) -> dict[str, Any]:
    tried = [each.to_dict() for each in chosen.tried]
    tried = [{key: value if value != float("inf") else None for key, value in each.items()} for each in tried]
    return {"weights": chosen.weights.to_dict(), "dev": {"questions": chosen.questions, "groups": chosen.groups, "tried": tried}}


def _compared(found: SearchSet, tests: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    groups = [each.group for each in found.test]
    means = {name: {metric: sum(values[metric]) / len(groups) for metric in METRICS} for name, values in tests.items()}
    single = max((name for name in tests if name not in (DEFAULT, CHOSEN)), key=lambda name: means[name]["nDCG@10"])
    differences = {}
    for name in (DEFAULT, CHOSEN):
        for metric in METRICS:
            interval = paired_difference(tests[single][metric], tests[name][metric], groups=groups)
            apart = means[name][metric] - means[single][metric]
            differences[f"{name}, {metric}"] = {"difference": apart, "low": interval.low, "high": interval.high}
    return {
        "test": {"questions": len(groups), "groups": len(set(groups)), "means": means},
        "best single search": single,
        "differences": differences,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for results of single sets and rewrites")
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    parser.add_argument("--sets", nargs="+", default=[EXAMPLE_SET, *PUBLIC], choices=[EXAMPLE_SET, *PUBLIC])
    parser.add_argument("--domain", type=Path, default=None, help="the example domain's folder")
    parser.add_argument("--adapter", type=Path, default=None, help="folder of an embedder adapter (for the example domain)")
    parser.add_argument("--out", type=Path, default=None, help="file for the results together")
    given = parser.parse_args()
    if given.data is None and set(given.sets) - {EXAMPLE_SET}:
        parser.error("public sets need --data")
    given.work.mkdir(parents=True, exist_ok=True)
    domain = given.domain or example_folder(EXAMPLE)
    results = []
    for name in given.sets:
        tuned = given.adapter if name == EXAMPLE_SET else None
        file = given.work / f"{name}{'-tuned' if tuned else ''}.json"
        if not file.exists():
            chosen = example(domain, rewritten(domain, given.work)) if name == EXAMPLE_SET else public(given.data, name)
            save(file, {**measure(chosen, SentenceTransformerEmbedder(adapter=tuned)), "adapter": bool(tuned)})
        results.append(json.loads(file.read_text(encoding="utf-8")))
        show(results[-1])
    if given.out is not None:
        files = [] if given.data is None else [file for name in given.sets for file in sorted(given.data.glob(f"{name}.*"))]
        save(given.out, {"sets": results, **provenance(files)})


def show(result: Mapping[str, Any]) -> None:
    weights = ", ".join(f"{name} {value:g}" for name, value in result["weights"].items())
    test = result["test"]
    print(f"{result['set']}: {test['questions']} test questions in {test['groups']} groups; chosen on dev: {weights}")
    for name, means in test["means"].items():
        print(f"  {name:32}" + "".join(f"  {metric} {means[metric]:.3f}" for metric in METRICS))
    for name, apart in result["differences"].items():
        against = f"{apart['difference']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f})"
        print(f"  {name} against {result['best single search']}: {against}", flush=True)


if __name__ == "__main__":
    main()
