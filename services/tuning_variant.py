"""One variant of a comparison in a process of its own: trained, then measured on the held-out items by the role's own metric.

A process of its own, since memory is counted a process, and since what one run leaves behind must not slow the next. What is
measured is what was saved: an adapter on the model as it was kept while training, or the whole model.
"""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.evaluating.testset import Sizes, read_tests
from lorag.pipeline.contracts import embed
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Generation
from lorag.pipeline.errors import DataError, LoragError
from lorag.pipeline.evaluation.ablation import DEPTH, OWN_METRIC
from lorag.pipeline.evaluation.answers import score_answers
from lorag.pipeline.evaluation.beir import BeirCollection
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.rewrites import score_rewrites
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.evaluation.searching import embed_collection, search
from lorag.pipeline.records import Answer, Hit, Outcome, Passage, Rewrite, Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.pipeline.stages import Rewriter, Synthesizer
from lorag.training.examples import asked
from lorag.training.passage_search import PassageSearch, plain_retrieval
from lorag.training.progress import Progress
from lorag.training.recipe import GenerationRecipe
from lorag.training.tuning_comparison import Cost, Method, Task, Tuned, Variant, precision_of, tune

if TYPE_CHECKING:
    from lorag.pipeline.engine.local import LocalEngine
    from lorag.pipeline.evaluation.ablation import ChainItem, TestSet

Told = Callable[[str, int, int, float | None], None]
"""Called with what is going on, how much of it is done, of how much, and the seconds left where they are known."""

TRAINED = "trained.json"
TUNED = "tuned"
TOGETHER = 32
"""Items put to the engine at once: few enough that progress shows, enough to fill its batches."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a child process is asked to do, in `folder`. `limit` bounds the held-out items, None means all; `key` names everything
    that the result depends on, so that a training that was finished before a kill is known again."""

    task: Task
    variant: Variant
    folder: Path
    key: str
    limit: int | None


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A variant's cost, None for the untuned model, its score on each held-out item, and the commit of the code that did it."""

    cost: Cost | None
    scores: ScoreTable
    commit: str = ""


def serve_order(pipe: Connection, order: Order) -> None:
    """The child's main function: sends `("progress", …)` tuples, then `("done", Outcomes)` or `("refused", error)`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    try:
        pipe.send(("done", run_variant(order, lambda *at: pipe.send(("progress", *at)))))
    except (LoragError, MemoryError, OSError) as error:
        pipe.send(("refused", error))


def run_variant(order: Order, told: Told) -> Outcomes:
    """Train and measure. Raises as `tune` and the stages do."""
    if order.variant.method is Method.UNTUNED:
        return Outcomes(None, measure(order, None, told))
    tuned = _finished(order)
    if tuned is None:

        def step(at: Progress) -> None:
            told("training", at.step, at.total, at.seconds_left)

        tuned = tune(order.task, order.variant, order.folder, step)
        _keep(order, tuned)
    return Outcomes(tuned.cost, measure(order, tuned.folder, told))


def _finished(order: Order) -> Tuned | None:
    """What an earlier process trained here for this very comparison."""
    try:
        kept = json.loads((order.folder / TRAINED).read_bytes())
    except (OSError, ValueError):
        return None
    folder = order.folder / str(kept["folder"])
    return Tuned(folder, Cost(**kept["cost"])) if kept["key"] == order.key and folder.is_dir() else None


def _keep(order: Order, tuned: Tuned) -> None:
    aside = order.folder / f".{TRAINED}"
    kept = {"key": order.key, "folder": tuned.folder.name, "cost": asdict(tuned.cost)}
    aside.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    aside.replace(order.folder / TRAINED)


def measure(order: Order, folder: Path | None, told: Told) -> ScoreTable:
    """The held-out items scored by the role's own metric; `folder` holds the adapter or model, None is the untuned one."""
    role = order.task.role
    tests = read_tests(order.task.data, Sizes(seed=order.task.recipe.optimiser.seed), roles=(role,))
    if role is Role.EMBEDDER:
        return _search(order, folder, tests, told)
    engine, adapter = _engine(order, folder)
    if role is Role.REWRITER:
        return _rewrite(order, engine, adapter, tests, told)
    return _answer(order, engine, adapter, tests, told)


def _drawn(order: Order, items: Sequence[Any]) -> list[Any]:
    """At most `limit` of the items, the same ones for every variant, in their order."""
    if order.limit is None or len(items) <= order.limit:
        return list(items)
    drawn = random.Random(order.task.recipe.optimiser.seed).sample(range(len(items)), order.limit)
    return [items[at] for at in sorted(drawn)]


def _encoder(order: Order, folder: Path | None) -> SentenceTransformerEmbedder:
    model = order.task.embedder
    match order.variant.method:
        case Method.UNTUNED:
            return SentenceTransformerEmbedder(model)
        case Method.FULL:
            return SentenceTransformerEmbedder(str(folder))
        case method:
            return SentenceTransformerEmbedder(model, adapter=folder, quantized=method is Method.QLORA)


def _search(order: Order, folder: Path | None, tests: TestSet, told: Told) -> ScoreTable:
    """Vectors alone, over all passages of the data folder: words would help every variant alike and hide what they differ by."""
    items: list[ChainItem] = _drawn(order, [item for item in tests.chain if item.gold.passage_ids])
    known = order.task.data.passages()
    lacking = [(item.gold.id, each) for item in items for each in item.gold.passage_ids if each not in known]
    if lacking:
        row, passage = lacking[0]
        raise DataError(f"test question {row!r} names passage {passage!r}, which passages.jsonl does not hold: it is never found")
    collection = BeirCollection(
        {id_: embed.passage_text(row.title, "", row.text) for id_, row in known.items()},
        {item.gold.id: embed.query_text(item.query.question) for item in items},
        {item.gold.id: dict.fromkeys(item.gold.passage_ids, 1) for item in items},
    )
    told("measuring", 0, len(known) + len(items), None)
    embedded = embed_collection(collection, _encoder(order, folder), lambda done, total: told("measuring", done, total, None))
    metric = OWN_METRIC[Role.EMBEDDER]
    scores = score_run(collection.qrels, search(embedded, DEPTH), (metric,)).per_query[metric]
    return ScoreTable(
        tuple(ItemScores(i.gold.id, i.gold.group or i.gold.id, Outcome.OK, {metric: scores[i.gold.id]}) for i in items)
    )


class WholeModel:
    """An engine whose base itself was tuned: what a stage asks of the adapter `TUNED`, the base answers, in the tuned prompt."""

    adapters = (TUNED,)

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        return self._engine.generate([replace(request, adapter=None) for request in requests])

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        return self._engine.choice_probabilities([replace(request, adapter=None) for request in requests])

    def stream(self, request: Generation) -> Any:
        return self._engine.stream(replace(request, adapter=None))


def _engine(order: Order, folder: Path | None) -> tuple[Any, str | None]:
    """The engine, and the adapter's name that a stage is to ask for."""
    from lorag.pipeline.engine.bases import resolve_base
    from lorag.pipeline.engine.local import open_engine
    from lorag.pipeline.engine.weights import load_weights

    variant = order.variant
    whole = variant.method is Method.FULL
    base = resolve_base(str(folder) if whole else order.task.base)
    compute = order.task.recipe.compute if isinstance(order.task.recipe, GenerationRecipe) else "auto"
    engine = open_engine(load_weights(base, precision=precision_of(variant), compute=compute))
    if whole:
        return WholeModel(engine), TUNED
    if folder is None:
        return engine, None
    engine.load_adapter(TUNED, folder)
    return engine, TUNED


def _rewrite(order: Order, engine: Any, adapter: str | None, tests: TestSet, told: Told) -> ScoreTable:
    items, stage = _drawn(order, tests.rewrites), Rewriter(engine, adapter)
    found: dict[str, Rewrite] = {}
    for start in range(0, len(items), TOGETHER):
        told("measuring", start, len(items), None)
        part = items[start : start + TOGETHER]
        found |= {item.gold.id: each for item, each in zip(part, stage.rewrite([item.query for item in part]), strict=True)}
    told("measuring", len(items), len(items), None)
    return _only(score_rewrites([item.gold for item in items], found), OWN_METRIC[Role.REWRITER])


def _answer(order: Order, engine: Any, adapter: str | None, tests: TestSet, told: Told) -> ScoreTable:
    """Answers from the passages that the frozen encoder and their words find, the same for every variant. F1 is of answerable
    questions."""
    task = order.task
    wanted = {item.gold.id for item in tests.chain if item.answered and item.gold.answerable}
    rows = _drawn(order, [row for row in task.data.questions("test") if row.id in wanted])
    golds = {item.gold.id: item.gold for item in tests.chain}
    passages = task.data.passages()
    with PassageSearch(passages, plain_retrieval(task.embedder, task.k)) as search:
        ids = search.find([asked(row) for row in rows], task.k, training=False)
    ranking = {row.id: found for row, found in zip(rows, ids, strict=True)}
    stage = Synthesizer(engine, adapter)
    found: dict[str, Answer] = {}
    for start in range(0, len(rows), TOGETHER):
        told("measuring", start, len(rows), None)
        part = rows[start : start + TOGETHER]
        hits = [[_hit(passages[id_]) for id_ in ranking[row.id]] for row in part]
        answers = stage.answer([row.standalone or row.question for row in part], hits)
        found |= {row.id: answer for row, answer in zip(part, answers, strict=True)}
    told("measuring", len(rows), len(rows), None)
    return _only(score_answers([golds[row.id] for row in rows], found), OWN_METRIC[Role.SYNTHESIZER])


def _hit(row: Any) -> Hit:
    return Hit(Passage(row.id, row.id, "", row.title, "", row.text, 0, len(row.text)), 0.0)


def _only(table: ScoreTable, metric: str) -> ScoreTable:
    """The table with that metric alone: what the journal keeps. An item without a value of it stays, to be counted."""
    kept = (replace(item, values={k: v for k, v in item.values.items() if k == metric}) for item in table.items)
    return ScoreTable(tuple(kept))
