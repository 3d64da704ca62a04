"""The effect of rewriting on retrieval: the same turns searched with the raw question, the rewrite and the gold rewrite.

The gold rewrite shows a perfect rewriter's retrieval, the raw question that without one. Standalone turns show harm: how many
were changed, and the loss of nDCG. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.errors import LoragError
from lorag.pipeline.evaluation.ablation import NDCG, RECALL, ChainItem, Measured
from lorag.pipeline.evaluation.gold_twins import distinct_gold, named_by_gold
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.rewrites import GoldRewrite
from lorag.pipeline.evaluation.text import normalize_answer
from lorag.pipeline.evaluation.trec import Scored
from lorag.pipeline.records import Outcome
from lorag.pipeline.stages import Retriever
from lorag.pipeline.stages.retriever import DEPTH

RAW, GOLD = "raw question", "gold rewrite"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of question, with its means over the `n` turns that have a value in every row."""

    name: str
    n: int
    ndcg: float
    recall: float


@dataclass(frozen=True, slots=True)
class Harm:
    """A configuration's effect on the `n` standalone turns: the share it changed, and nDCG of the raw question minus that of
    the rewrite (above 0: retrieval got worse)."""

    name: str
    n: int
    changed: float
    loss: float


@dataclass(frozen=True, slots=True)
class RewriteRetrieval:
    """The raw question first, then each configuration's rewrites, the gold rewrite last. Empty without turns."""

    rows: tuple[Row, ...] = ()
    harm: tuple[Harm, ...] = ()


def compare_rewrites(items: Sequence[ChainItem], measured: Sequence[Measured], retriever: Retriever) -> RewriteRetrieval:
    """Search for the turns among `items` with the raw question and the gold rewrite, and compare the searches of `measured`,
    all with the same retriever. A turn with a failed rewrite in any configuration is left out of all rows."""
    failed = {id_ for each in measured for id_, found in each.searches.items() if found.rewrite.outcome is Outcome.FAILED}
    turns = [item for item in items if _is_searched_turn(item) and item.gold.id not in failed]
    if not turns:
        return RewriteRetrieval()
    found = {RAW: _scores(turns, retriever, [item.query.question for item in turns])}
    for each in measured:
        found[each.configuration.name] = {m: each.retrieval.values(m) for m in (NDCG, RECALL)}
    found[GOLD] = _scores(turns, retriever, [item.gold_rewrite for item in turns])
    alone = [item for item in turns if GoldRewrite(item.gold.id, item.query.question, (item.gold_rewrite,)).standalone]
    rows = (_row(name, values, turns) for name, values in found.items())
    harm = (_harm(each, found[RAW][NDCG], alone) for each in measured if alone)
    return RewriteRetrieval(tuple(rows), tuple(harm))


def _is_searched_turn(item: ChainItem) -> bool:
    return bool(item.query.history and item.gold_rewrite and item.gold.answerable and item.gold.passage_ids)


Values = Mapping[str, Mapping[str, float]]


def _scores(turns: Sequence[ChainItem], retriever: Retriever, questions: Sequence[str]) -> Values:
    run, qrels = {}, {}
    for item, found in zip(turns, retriever.rank(questions), strict=True):
        if isinstance(found, LoragError):
            raise found
        named = named_by_gold(found, item.gold.passage_ids)
        run[item.gold.id] = tuple(Scored(hit.passage.id, hit.score) for hit in named[:DEPTH])
        qrels[item.gold.id] = dict.fromkeys(distinct_gold(item.gold.passage_ids, named), 1)
    return score_run(qrels, run, (NDCG, RECALL)).per_query


def _row(name: str, values: Values, turns: Sequence[ChainItem]) -> Row:
    ndcg, recall = (sum(values[metric][item.gold.id] for item in turns) / len(turns) for metric in (NDCG, RECALL))
    return Row(name, len(turns), ndcg, recall)


def _harm(measured: Measured, raw: Mapping[str, float], alone: Sequence[ChainItem]) -> Harm:
    rewritten = measured.retrieval.values(NDCG)
    questions = [(item.query.question, measured.searches[item.gold.id].rewrite.question) for item in alone]
    changed = [normalize_answer(question) != normalize_answer(rewrite) for question, rewrite in questions]
    lost = [raw[item.gold.id] - rewritten[item.gold.id] for item in alone]
    return Harm(measured.configuration.name, len(alone), sum(changed) / len(alone), sum(lost) / len(alone))
