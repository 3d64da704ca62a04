"""Late interaction: sums worked out by hand, the same order for equals, and a cache that keeps its bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lorag.pipeline.records import Hit, Passage
from lorag.pipeline.retrieval import late_interaction, token_cache
from lorag.pipeline.retrieval.embedder import HashingEmbedder, SentenceTransformerEmbedder
from lorag.pipeline.retrieval.late_interaction import LateInteraction, TokenMatches
from lorag.pipeline.retrieval.token_cache import TokenCache
from lorag.pipeline.retrieval.token_vectors import TokenVectors
from lorag.pipeline.retrieval.weights import SearchWeights


def tokens(**vectors: tuple[float, float]) -> TokenVectors:
    """Tokens a, b, c as ids 1, 2, 3."""
    return TokenVectors(np.array(["abc".index(name) + 1 for name in vectors], dtype=np.int64), np.array([*vectors.values()]))


def late_scores(query: TokenVectors, passages: Sequence[TokenVectors], *how: Any, **named: Any) -> np.ndarray:
    matches = TokenMatches(query, len(passages))
    for at, passage in enumerate(passages):
        matches.add(at, passage)
    return matches.scores(*how, **named)


def hit(name: str, text: str, score: float = 0.0) -> Hit:
    return Hit(Passage(name, name, name, "", "", text, 0, len(text)), score)


def test_each_token_of_the_question_meets_its_nearest_weighted_by_rarity_among_the_passages() -> None:
    """Token 1 stands in both passages, token 2 in the second alone: weights ln(1 + .5 / 2.5) and ln(1 + 1.5 / 1.5)."""
    query = tokens(a=(1.0, 0.0), b=(0.0, 1.0))
    first, second = tokens(a=(1.0, 0.0), c=(0.6, 0.8)), tokens(a=(0.8, 0.6), b=(0.0, 1.0))
    common, rare = math.log(1.2), math.log(2.0)
    expected = [(common * 1.0 + rare * 0.8) / (common + rare), (common * 0.8 + rare * 1.0) / (common + rare)]
    assert late_scores(query, [first, second]) == pytest.approx(expected, rel=1e-6)


def test_a_token_counts_by_its_importance() -> None:
    """One passage: both tokens have the same frequency weight, so .8 and .6 with importance 1 and .5 give (.8 + .3) / 1.5."""
    query, passage = tokens(a=(1.0, 0.0), b=(0.0, 1.0)), tokens(a=(0.8, 0.6), b=(0.8, 0.6))
    importance = np.array([1.0, 0.5], dtype=np.float32)
    assert late_scores(query, [passage], importance).tolist() == pytest.approx([1.1 / 1.5])


def test_a_passage_borrows_from_the_nearest_tokens_of_its_document() -> None:
    """The cosines of the first test: 1 and .8, .8 and 1. Half of token a's and all of token b's are the document's, 1 and 1."""
    query = tokens(a=(1.0, 0.0), b=(0.0, 1.0))
    passages = [tokens(a=(1.0, 0.0), c=(0.6, 0.8)), tokens(a=(0.8, 0.6), b=(0.0, 1.0))]
    common, rare = math.log(1.2), math.log(2.0)
    borrowed = np.array([0.5, 1.0], dtype=np.float32)
    one = late_scores(query, passages, documents=["x", "x"], borrowed=borrowed)
    assert one == pytest.approx([1.0, (common * 0.9 + rare) / (common + rare)], rel=1e-6)
    apart = late_scores(query, passages, documents=["x", "y"], borrowed=borrowed)
    assert apart == pytest.approx(late_scores(query, passages), rel=1e-6)
    assert late_scores(query, [], documents=[], borrowed=borrowed).tolist() == []


def test_the_conversation_tells_the_document_and_the_question_the_passage() -> None:
    """All tokens are in the passage or its sister, so they have cosine 1 or 0 (texts share no other word).

    Weights with three passages: "boats" in one of three ln(1 + 2.5 / 1.5), "price" in two ln(1 + 1.5 / 2.5), "keel" in one.
    x1 has price, and its sister x2 keel, of which it borrows .8; of the boats of x2 it borrows .25.
    """
    one, two = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    hits = [hit("x#1", "price"), hit("x#2", "keel boats"), hit("y#1", "price")]
    hits = [replace(each, passage=replace(each.passage, document_id=each.passage.id[0])) for each in hits]
    weights = SearchWeights(0.0, 1.0, 1.0, history=0.5, document=0.25)
    ((first, second, third),) = LateInteraction(HashingEmbedder(1 << 16)).rerank_many(
        ["price boats"], [hits], 3, weights, ["keel"]
    )
    total = two + one + 0.5 * one
    expected = {
        "x#1": (two + 0.25 * one + 0.5 * 0.8 * one) / total,
        "x#2": (0.25 * two + one + 0.5 * one) / total,
        "y#1": two / total,
    }
    found = {each.passage.id: 2 * each.score for each in (first, second, third)}
    assert found == pytest.approx(expected, abs=1e-3)


def test_without_tokens_there_is_no_score() -> None:
    empty = TokenVectors(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))
    some = tokens(a=(1.0, 0.0))
    assert late_scores(empty, [some]).tolist() == [0.0]
    assert late_scores(some, [empty, some]).tolist() == pytest.approx([0.0, 1.0])
    assert late_scores(some, []).tolist() == []


def test_the_own_score_counts_its_share_and_equals_go_by_id() -> None:
    hits = [hit("c", "red pump", 0.4), hit("b", "blue mast", 0.2), hit("a", "blue mast", 0.2)]
    (ordered,) = LateInteraction(HashingEmbedder(4096)).rerank_many(["blue mast"], [hits], 3, SearchWeights(0.5, 0.5, 3.0))
    assert [each.passage.id for each in ordered] == ["a", "b", "c"]
    assert [each.score for each in ordered] == pytest.approx([0.75 + 0.05, 0.75 + 0.05, 0.1], abs=1e-3)
    assert ordered[0].score == ordered[1].score


def test_no_question_and_no_hit() -> None:
    late = LateInteraction(HashingEmbedder())
    assert late.rerank_many([], [], 3, SearchWeights()) == []
    assert late.rerank_many(["why?"], [[]], 3, SearchWeights()) == [[]]


class Counting(HashingEmbedder):
    def __init__(self) -> None:
        super().__init__(8)
        self.read: list[str] = []

    def passage_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        self.read += texts
        return super().passage_tokens(texts)


def test_passages_are_read_once_and_the_longest_unused_are_dropped_first() -> None:
    embedder = Counting()
    one = 8 * 2 + 2 * 8  # an id of 8 bytes and 8 half-precision numbers
    late = LateInteraction(embedder, TokenCache(2 * one))
    for name in ("ant", "bee", "ant", "cow", "ant", "bee"):
        late.rerank_many(["which?"], [[hit(name, name)]], 1, SearchWeights())
    assert embedder.read == ["ant", "bee", "cow", "bee"]


def test_many_questions_read_each_passage_once_whatever_the_cache_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_interaction, "READ_AT_ONCE", 3)
    names = [f"w{n} x{n % 4} y{n % 3}" for n in range(11)]
    questions = [f"w{n} x{n % 5}?" for n in range(7)]
    found = [[hit(name, name, 0.1 * at) for at, name in enumerate(names[n : n + 6])] for n in range(7)]
    embedder = Counting()
    together = LateInteraction(embedder, TokenCache(1)).rerank_many(questions, found, 4, SearchWeights())
    assert sorted(embedder.read) == sorted(names)
    alone = [
        LateInteraction(Counting()).rerank_many([q], [hits], 4, SearchWeights())[0]
        for q, hits in zip(questions, found, strict=True)
    ]
    assert together == alone


def test_a_passage_larger_than_the_cache_is_still_scored() -> None:
    late = LateInteraction(Counting(), TokenCache(1))
    ((found,),) = late.rerank_many(["ant"], [[hit("a", "ant ant")]], 1, SearchWeights(0.0, 1.0, 3.0))
    assert found.score == pytest.approx(0.75, abs=1e-3)


def test_many_passages_are_read_in_parts_of_similar_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "READ_TOGETHER", 2)
    made: list[list[str]] = []

    def make(texts: Sequence[str]) -> list[TokenVectors]:
        made.append(list(texts))
        return HashingEmbedder(8).passage_tokens(texts)

    found = TokenCache(1 << 20).read(["one two three", "one", "one two", "one"], make)
    assert made == [["one", "one two"], ["one two three"]]
    assert [len(each.ids) for each in found] == [3, 1, 2, 1]
    assert {each.vectors.dtype for each in found} == {np.dtype(np.float16)}


def test_the_real_encoders_tokens_average_to_its_vector() -> None:
    """Mean pooling is over all tokens, special ones too; without the two of them the mean is near, and the ids are the words'."""
    embedder = SentenceTransformerEmbedder()
    text = "The crane lifts nine tonnes at the north quay."
    (query,), (passage,) = embedder.query_tokens([text]), embedder.passage_tokens([text])
    assert query.ids.tolist() == passage.ids.tolist()
    assert embedder.load().tokenizer.convert_ids_to_tokens(query.ids.tolist())[:3] == ["the", "crane", "lifts"]
    assert query.vectors.shape == (len(query.ids), 384)
    assert np.linalg.norm(query.vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    mean = query.vectors.mean(axis=0)
    assert float(mean / np.linalg.norm(mean) @ embedder.embed_queries([text])[0]) > 0.95


def test_a_batch_gives_the_tokens_of_each_text_alone() -> None:
    embedder = SentenceTransformerEmbedder()
    texts = ["Who keeps the key?", "A much longer passage about the keeper of the key to the shed by the pontoon.", ""]
    for text, batched in zip(texts, embedder.passage_tokens(texts), strict=True):
        (alone,) = embedder.passage_tokens([text])
        assert batched.ids.tolist() == alone.ids.tolist()
        assert batched.vectors == pytest.approx(alone.vectors, abs=1e-4)


def test_special_tokens_in_a_text_are_plain_text() -> None:
    embedder = SentenceTransformerEmbedder()
    (found,) = embedder.passage_tokens(["[SEP] ship"])
    assert embedder.load().tokenizer.convert_ids_to_tokens(found.ids.tolist()) == ["[", "sep", "]", "ship"]
