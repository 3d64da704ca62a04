"""A tuned or untuned model measured on the held-out items by its role's own metric.

It measures what was saved: an adapter on the model in its training precision, or the whole model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tuning_variants import Method, Task, Variant, precision_of
from lorag.evaluating.testset import Sizes, read_tests
from lorag.pipeline.contracts import embed
from lorag.pipeline.engine.layer import Layer
from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.ablation import OWN_METRIC
from lorag.pipeline.evaluation.answers import score_answers
from lorag.pipeline.evaluation.beir import BeirCollection
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.rewrites import score_rewrites
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.evaluation.searching import embed_collection, search
from lorag.pipeline.records import Hit, Outcome, Passage, Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.pipeline.stages import Rewriter, Synthesizer
from lorag.pipeline.stages.retriever import DEPTH
from lorag.training.examples import search_text
from lorag.training.passage_search import PassageSearch, plain_retrieval
from lorag.training.recipe import GenerationRecipe

if TYPE_CHECKING:
    from lorag.pipeline.evaluation.ablation import ChainItem, TestSet

TUNED = "tuned"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement: `folder` holds the adapter or model, None for the untuned one; `limit` bounds the held-out items."""

    task: Task
    variant: Variant
    folder: Path | None
    limit: int | None


def measure(measurement: Measurement) -> ScoreTable:
    """The held-out items scored by the role's own metric. Raises as reading the rows and the stages do."""
    role = measurement.task.role
    tests = read_tests(measurement.task.data, Sizes(seed=measurement.task.recipe.optimiser.seed), roles=(role,))
    if role is Role.EMBEDDER:
        return _search(measurement, tests)
    engine, adapter = _engine(measurement)
    return (_rewrite if role is Role.REWRITER else _answer)(measurement, engine, adapter, tests)


def _sample(measurement: Measurement, items: Sequence[Any]) -> list[Any]:
    """At most `limit` of the items, the same ones for every variant, in their order."""
    if measurement.limit is None or len(items) <= measurement.limit:
        return list(items)
    drawn = random.Random(measurement.task.recipe.optimiser.seed).sample(range(len(items)), measurement.limit)
    return [items[at] for at in sorted(drawn)]


def _encoder(measurement: Measurement) -> SentenceTransformerEmbedder:
    model = measurement.task.embedder
    match measurement.variant.method:
        case Method.UNTUNED:
            return SentenceTransformerEmbedder(model)
        case Method.FULL:
            return SentenceTransformerEmbedder(str(measurement.folder))
        case method:
            return SentenceTransformerEmbedder(model, adapter=measurement.folder, quantized=method is Method.QLORA)


def _search(measurement: Measurement, tests: TestSet) -> ScoreTable:
    """Dense search alone, over all passages of the data folder: sparse search would help all variants and hide differences."""
    items: list[ChainItem] = _sample(measurement, [item for item in tests.chain if item.gold.passage_ids])
    known = measurement.task.data.passages()
    lacking = [(item.gold.id, each) for item in items for each in item.gold.passage_ids if each not in known]
    if lacking:
        row, passage = lacking[0]
        raise DataError(f"test question {row!r} names passage {passage!r}, which passages.jsonl does not hold: it is never found")
    collection = BeirCollection(
        {id_: embed.passage_text(row.title, "", row.text) for id_, row in known.items()},
        {item.gold.id: embed.query_text(item.query.question) for item in items},
        {item.gold.id: dict.fromkeys(item.gold.passage_ids, 1) for item in items},
    )
    embedded = embed_collection(collection, _encoder(measurement))
    metric = OWN_METRIC[Role.EMBEDDER]
    scores = score_run(collection.qrels, search(embedded, DEPTH), (metric,)).per_query[metric]
    return ScoreTable(
        tuple(ItemScores(i.gold.id, i.gold.group or i.gold.id, Outcome.OK, {metric: scores[i.gold.id]}) for i in items)
    )


def _engine(measurement: Measurement) -> tuple[Any, str | None]:
    """The engine, and the adapter's name for the stages."""
    from lorag.pipeline.engine.bases import resolve_base
    from lorag.pipeline.engine.local import open_engine
    from lorag.pipeline.engine.weights import load_weights

    whole = measurement.variant.method is Method.FULL
    base = resolve_base(str(measurement.folder) if whole else measurement.task.base)
    compute = measurement.task.recipe.compute if isinstance(measurement.task.recipe, GenerationRecipe) else "auto"
    engine = open_engine(load_weights(base, precision=precision_of(measurement.variant), compute=compute))
    if whole:
        return Layer(engine, change=lambda request: replace(request, adapter=None)), TUNED  # in the tuned prompt
    if measurement.folder is None:
        return engine, None
    engine.load_adapter(TUNED, measurement.folder)
    return engine, TUNED


def _rewrite(measurement: Measurement, engine: Any, adapter: str | None, tests: TestSet) -> ScoreTable:
    items = _sample(measurement, tests.rewrites)
    rewrites = Rewriter(engine, adapter).rewrite([item.query for item in items])
    found = {item.gold.id: rewrite for item, rewrite in zip(items, rewrites, strict=True)}
    return _only(score_rewrites([item.gold for item in items], found), OWN_METRIC[Role.REWRITER])


def _answer(measurement: Measurement, engine: Any, adapter: str | None, tests: TestSet) -> ScoreTable:
    """Answers from the passages that hybrid search with the frozen encoder finds, the same for every variant.

    F1 is over answerable questions.
    """
    task = measurement.task
    wanted = {item.gold.id for item in tests.chain if item.answered and item.gold.answerable}
    rows = _sample(measurement, [row for row in task.data.questions("test") if row.id in wanted])
    golds = {item.gold.id: item.gold for item in tests.chain}
    passages = task.data.passages()
    with PassageSearch(passages, plain_retrieval(task.embedder, task.k)) as finder:
        ids = finder.find([search_text(row) for row in rows], task.k, training=False)
    hits = [[_hit(passages[id_]) for id_ in found] for found in ids]
    answers = Synthesizer(engine, adapter).answer([row.standalone or row.question for row in rows], hits)
    given = {row.id: answer for row, answer in zip(rows, answers, strict=True)}
    return _only(score_answers([golds[row.id] for row in rows], given), OWN_METRIC[Role.SYNTHESIZER])


def _hit(row: Any) -> Hit:
    return Hit(Passage(row.id, row.id, "", row.title, "", row.text, 0, len(row.text)), 0.0)


def _only(table: ScoreTable, metric: str) -> ScoreTable:
    """The table with that metric alone, for the journal. An item without a value of it stays, to be counted."""
    items = (replace(item, values={k: v for k, v in item.values.items() if k == metric}) for item in table.items)
    return ScoreTable(tuple(items))
