"""Weights of a search: shares by hand, bad values, and each weight's effect in an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.weights import SearchWeights


def test_shares_by_hand() -> None:
    weights = SearchWeights(1.0, 3.0, 4.0)
    assert (weights.words_share, weights.tokens_share) == (0.25, 0.5)
    assert SearchWeights.from_dict(weights.to_dict()) == weights
    stored = {"words": 1.0, "vectors": 3.0, "tokens": 4.0}  # by a version without the other two
    assert SearchWeights.from_dict(stored) == weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((0.0, 0.0, 1.0), "both 0"),
        ((-0.1, 1.0, 1.0), "words: -0.1"),
        ((1.0, float("nan"), 1.0), "vectors: nan"),
        ((1.0, 1.0, float("inf")), "tokens: inf"),
        ((1.0, 1.0, 1.0, 0.3, 1.5), "document: 1.5 is a share"),
    ],
)
def test_bad_weights(weights: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchWeights(*weights)


class Crosswise(HashingEmbedder):
    """Vectors prefer `by vectors`; token vectors prefer `by tokens`."""

    def embed_queries(self, texts):  # type: ignore[no-untyped-def]
        return super().embed_queries(["by vectors"] * len(texts))

    def query_tokens(self, texts):  # type: ignore[no-untyped-def]
        return super().query_tokens(["by tokens"] * len(texts))


@pytest.mark.parametrize(
    ("weights", "first"),
    [
        (SearchWeights(1.0, 0.0, 0.0), "words"),
        (SearchWeights(0.0, 1.0, 0.0), "vectors"),
        (SearchWeights(0.01, 0.01, 1.0), "tokens"),
    ],
)
def test_each_weight_orders_by_its_own_score(tmp_path: Path, weights: SearchWeights, first: str) -> None:
    texts = ["by vectors", "by tokens", "by words of the question"]
    index = Index(EdgeStore(tmp_path), Crosswise(4096), weights=weights)
    index.replace_all([Passage(f"{n}#0", f"{n}", f"{n}", "", "", text, 0, len(text)) for n, text in enumerate(texts)])
    hits = index.search("words of the question", 3)
    assert hits[0].passage.text.startswith(f"by {first}")
    assert index.search("words of the question", 1, hybrid=False)[0].passage.text == "by vectors"
    index.close()


@pytest.mark.parametrize("weights", [SearchWeights(1.0, 0.0, 0.0), SearchWeights(0.1, 0.1, 1.0)], ids=["words", "tokens"])
def test_the_conversation_before_decides_between_passages_that_the_question_does_not_tell_apart(
    tmp_path: Path, weights: SearchWeights
) -> None:
    texts = ["pump opening hours", "mast opening hours", "keel opening hours"]
    index = Index(EdgeStore(tmp_path), HashingEmbedder(4096), weights=weights)
    index.replace_all([Passage(f"{n}#0", f"{n}", f"{n}", "", "", text, 0, len(text)) for n, text in enumerate(texts)])
    asked, before = ["opening hours", "opening hours", "opening pump hours"], ["the keel", "", "the keel"]
    found = index.search_many(asked, 1, contexts=before)
    assert [hits[0].passage.text for hits in found] == [texts[2], texts[0], texts[0]]  # the question's own words count more
    without = index.weighted(SearchWeights(weights.words, weights.vectors, weights.tokens, 0.0))
    assert without.search_many(asked, 1, contexts=before) == without.search_many(asked, 1)
    index.close()
