"""Questions are read once however often they are searched for, and the results are those of the encoder itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder, Vectors
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.remembered import RememberedQuestions
from lorag.pipeline.retrieval.token_vectors import TokenVectors
from lorag.pipeline.retrieval.weights import SearchWeights


class Counting(HashingEmbedder):
    """Records the texts that it reads, by the way it is asked."""

    def __init__(self) -> None:
        super().__init__(64)
        self.read: dict[str, list[str]] = {"vectors": [], "tokens": [], "passages": []}

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        self.read["vectors"] += texts
        return super().embed_queries(texts)

    def query_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        self.read["tokens"] += texts
        return super().query_tokens(texts)

    def passage_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        self.read["passages"] += texts
        return super().passage_tokens(texts)


def test_each_question_is_read_once_and_comes_back_in_its_place() -> None:
    plain, counting = HashingEmbedder(64), Counting()
    remembered = RememberedQuestions(counting)
    for asked in (["red pump", "blue mast", "red pump"], ["blue mast", "keel"], []):
        assert np.array_equal(remembered.embed_queries(asked), plain.embed_queries(asked))
        tokens, expected = remembered.query_tokens(asked), plain.query_tokens(asked)
        assert [each.ids.tolist() for each in tokens] == [each.ids.tolist() for each in expected]
    assert counting.read["vectors"] == counting.read["tokens"] == ["red pump", "blue mast", "keel"]


def test_the_rest_is_the_encoders() -> None:
    plain = HashingEmbedder(64)
    remembered = RememberedQuestions(plain)
    assert (remembered.identity, remembered.dimension) == (plain.identity, 64)
    assert np.array_equal(remembered.embed_passages(["keel"]), plain.embed_passages(["keel"]))
    assert np.array_equal(remembered.passage_tokens(["keel"])[0].vectors, plain.passage_tokens(["keel"])[0].vectors)
    assert remembered.count_tokens(["the keel"]) == 2


def test_an_index_that_remembers_finds_the_same_and_shares_the_passages_read(tmp_path: Path) -> None:
    embedder = Counting()
    passages = [Passage(name, name, name, "", "", f"the {name}", 0, len(name) + 4) for name in ("pump", "mast", "keel")]
    with closing(Index(EdgeStore(tmp_path), embedder)) as index:
        index.replace_all(passages)
        expected = index.search_many(["who sees to the keel?"], 2, contexts=["a boat"])
        embedder.read["vectors"].clear()
        embedder.read["tokens"].clear()
        remembering = index.remembering()
        for weights in (SearchWeights(), SearchWeights(1.0, 1.0, 0.0), SearchWeights(0.0, 1.0, 1.0), SearchWeights()):
            found = remembering.weighted(weights).search_many(["who sees to the keel?"], 2, contexts=["a boat"])
    assert found == expected
    assert embedder.read["vectors"] == ["who sees to the keel?"]
    assert embedder.read["tokens"] == ["who sees to the keel?", "a boat"]
    assert len(embedder.read["passages"]) == 3
