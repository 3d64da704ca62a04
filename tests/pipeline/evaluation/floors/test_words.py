"""BM25 in memory against the sparse search of the store that serves, and by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.floors.words import WordIndex, WordSearcher
from lorag.pipeline.records import Passage

TEXTS = {"a": "ferry ferry bell", "b": "bell harbour", "c": "harbour night boat", "d": "the of and"}


def test_scores_are_summed_over_the_shared_words() -> None:
    """k1 1.2, b 0.75, mean length 50, each text three words long or two: f · 2.2 / (f + 1.2 · (0.25 + 0.75 · length / 50))."""

    def weight(count: int, length: int) -> float:
        return count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / 50))

    def rarity(texts: int) -> float:
        return math.log(1 + (4 - texts + 0.5) / (texts + 0.5))

    found = dict(WordIndex(TEXTS).search("Which bell is on the ferry?", 10))
    assert found == {
        "a": pytest.approx(weight(2, 3) * rarity(1) + weight(1, 3) * rarity(2)),
        "b": pytest.approx(weight(1, 2) * rarity(2)),
    }


def test_the_best_come_first_and_equals_by_id() -> None:
    index = WordIndex({"z": "red boat", "y": "red boat", "x": "red red boat", "w": "green boat"})
    assert [id_ for id_, _ in index.search("red", 10)] == ["x", "y", "z"]
    assert [id_ for id_, _ in index.search("red", 2)] == ["x", "y"]
    assert index.search("the", 10) == [] and index.search("purple", 10) == []


def test_a_passage_is_found_by_its_headings_too() -> None:
    passages = [
        Passage(id_, "d", "d", title, section, "Text.", 0, 5) for id_, title, section in (("p", "Bells", ""), ("q", "", "Boats"))
    ]
    searcher = WordSearcher(passages)
    assert [[hit.passage.id for hit in hits] for hits in searcher.search_many(["bell", "boat", "fog"], 3)] == [["p"], ["q"], []]
    with pytest.raises(InputError, match="takes no filter"):
        searcher.search_many(["bell"], 3, filter={"source": "d"})


def test_the_ranking_is_that_of_the_stores_words(tmp_path: Path) -> None:
    """The store fuses the words' ranking with one by vectors. All vectors are equal here, so the words alone decide."""
    import uuid

    from lorag.pipeline.retrieval.bm25 import Bm25Encoder
    from lorag.pipeline.retrieval.edge_store import EdgeStore
    from lorag.pipeline.retrieval.store import Point, Search

    texts = {"a": "ferry ferry bell", "b": "bell harbour light", "c": "harbour night boat ferry bell", "d": "fog"}
    words, store = Bm25Encoder(), EdgeStore(tmp_path)
    store.create("c", 2, {}, {})
    ids = {name: str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in texts}
    store.upsert("c", [Point(ids[name], [1.0, 0.0], words.passage(text), {"name": name}) for name, text in texts.items()])
    (found,) = store.search("c", [Search([1.0, 0.0], words.query("bell of the ferry"))], 3)
    store.close()
    assert [point.payload["name"] for point in found] == [id_ for id_, _ in WordIndex(texts).search("bell of the ferry", 3)]
