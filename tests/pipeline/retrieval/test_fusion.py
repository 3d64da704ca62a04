"""Fusion by weighted scores: sums worked out by hand, equals made equal, and the same order in every copy of an index."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.fusion import fuse, prefetch_depth
from lorag.pipeline.retrieval.index import Index


def test_scores_are_summed_by_their_shares_best_first() -> None:
    """By hand, words a quarter: a .675 + 0; b .6 + .25 · 2 / 8; c lacks a cosine and gets the lowest, .3, and .25."""
    found = fuse([("a", 0.9), ("b", 0.8), ("d", 0.3)], [("c", 8.0), ("b", 2.0)], 0.25, 50)
    expected = [("a", 0.675), ("b", 0.6625), ("c", 0.475), ("d", 0.225)]
    assert found == [(point, pytest.approx(score)) for point, score in expected]


@pytest.mark.parametrize(("share", "order"), [(0.0, "adbc"), (1.0, "cbad")])
def test_a_share_of_0_or_1_leaves_one_ranking(share: float, order: str) -> None:
    found = fuse([("a", 0.9), ("d", 0.8), ("b", 0.5), ("c", 0.1)], [("c", 7.0), ("b", 2.0)], share, 50)
    assert "".join(point for point, _ in found) == order


def test_without_any_word_found_the_cosines_decide() -> None:
    assert fuse([("b", 0.5), ("a", 0.25)], [], 0.5, 50) == [("b", 0.25), ("a", 0.125)]


def test_equal_scores_are_exactly_equal_whichever_came_first() -> None:
    first = [("c", 2.0), ("b", 2.0), ("a", 2.0 - 1e-9), ("d", 1.0)]
    assert fuse(first, [], 0.0, 50) == [("a", 2.0), ("b", 2.0), ("c", 2.0), ("d", 1.0)]
    assert fuse([first[2], first[1], first[0], first[3]], [], 0.0, 50) == [
        ("a", 2.0 - 1e-9), ("b", 2.0 - 1e-9), ("c", 2.0 - 1e-9), ("d", 1.0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ((3.0, 2.0, 1.0), 2),  # the cut parts no equals
        ((3.0, 2.0, 2.0), 1),  # which of the two came first says nothing
        ((2.0, 2.0, 2.0), 0),
        ((2.0, 2.0), 2),  # there are no more
    ],
)
def test_equals_that_the_cut_would_part_are_left_out_together(scores: tuple[float, ...], kept: int) -> None:
    ranking = [(str(place), score) for place, score in enumerate(scores)]
    assert [point for point, _ in fuse(ranking, [], 0.5, 2)] == [point for point, _ in ranking[:kept]]


@pytest.mark.parametrize(("k", "depth"), [(1, 50), (12, 50), (13, 52), (100, 400)])
def test_prefetch_depth(k: int, depth: int) -> None:
    assert prefetch_depth(k) == depth


def test_copies_of_an_index_find_the_same_in_the_same_order(tmp_path: Path) -> None:
    """What is measured lies in another copy than what serves. All passages say the same words, so BM25 has many equals."""
    texts = [f"The {thing} is checked daily by crew {crew}." for crew, thing in enumerate(["pump", "mast", "keel", "winch"] * 30)]
    passages = [Passage(f"{n}.md#0", f"{n}.md", f"{n}.md", "", "", text, 0, len(text)) for n, text in enumerate(texts)]
    found = []
    for copy in range(3):
        index = Index(EdgeStore(tmp_path / str(copy)), HashingEmbedder(64))
        index.replace_all(random.Random(copy).sample(passages, len(passages)))
        hits = index.search_many([f"Who checks the {thing}?" for thing in ("pump", "mast", "keel")], 10)
        found.append([[(hit.passage.id, hit.score) for hit in each] for each in hits])
        index.close()
    assert found[0] == found[1] == found[2]
