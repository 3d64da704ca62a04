"""A gold passage that a ranking shows as a twin is found, and gold twins are one text."""

from __future__ import annotations

from lorag.pipeline.chain import ChainOptions
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.evaluation.ablation import NDCG, RECALL, ChainItem, Configuration, TestSet
from lorag.pipeline.evaluation.answers import CITATION_PRECISION, CITATION_RECALL, GoldAnswer
from lorag.pipeline.evaluation.bench import Bench, Parts
from lorag.pipeline.evaluation.gold_twins import distinct_gold, named_by_gold
from lorag.pipeline.records import Hit, Passage, Query
from lorag.pipeline.stages import Retriever


def passage(id: str, text: str = "The porter keeps the key.") -> Passage:
    return Passage(id, id, f"docs/{id}", "Keys", "", text, 0, len(text))


OTHER = Hit(passage("x", "The ferry leaves at noon."), 0.9)
FOLDED = Hit(passage("a"), 0.5, (passage("b"), passage("c")))


def test_a_hit_goes_by_the_name_of_its_gold_twin() -> None:
    hits = named_by_gold([OTHER, FOLDED], {"c"})
    assert [hit.ids for hit in hits] == [("x",), ("c", "b", "a")]
    assert hits[1].passage.source == "docs/a" and hits[1].score == 0.5
    for gold in ({"a"}, {"a", "c"}, {"z"}, set[str]()):
        assert named_by_gold([OTHER, FOLDED], gold) == (OTHER, FOLDED)


def test_gold_twins_count_once_if_the_ranking_shows_them_as_one() -> None:
    assert distinct_gold(["a", "c", "z"], [OTHER, FOLDED]) == ["a", "z"]
    assert distinct_gold(["c", "b"], [OTHER, FOLDED]) == ["b"]
    assert distinct_gold(["c", "b"], [OTHER]) == ["c", "b"]
    assert distinct_gold([], [FOLDED]) == []


class Found:
    def search_many(self, questions, k, *, hybrid=True, filter=None, contexts=()):  # type: ignore[no-untyped-def]
        return [[OTHER, FOLDED] for _ in questions]


def test_figures_of_folded_gold() -> None:
    """At rank 2 of one relevant text: nDCG 1 / log2(3); both gold twins are that one text, and its citation is complete."""
    golds = [GoldAnswer("one", ("the porter",), True, ("c",)), GoldAnswer("two", ("the porter",), True, ("b", "c"))]
    items = tuple(ChainItem(Query(f"Who keeps the key, {gold.id}?"), gold) for gold in golds)
    engine = ScriptedEngine(lambda request: "the porter [2]")
    options = ChainOptions(answerability=False, support=False)
    measured = Bench(Parts(engine, {}, Retriever(Found()), None, options), TestSet(items, (), ())).measure(
        Configuration("base", frozenset())
    )
    for gold in golds:
        assert round(measured.retrieval.values(NDCG)[gold.id], 4) == 0.6309
        assert measured.retrieval.values(RECALL)[gold.id] == 1
        assert measured.answers.values(CITATION_RECALL)[gold.id] == measured.answers.values(CITATION_PRECISION)[gold.id] == 1
        assert measured.responses[gold.id].trace.hits[1].passage.id in gold.passage_ids
