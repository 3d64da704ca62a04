"""Fusion by reciprocal ranks: sums worked out by hand, equals at one rank, and the same order in every copy of an index."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.fusion import fuse, prefetch_depth
from lorag.pipeline.retrieval.index import Index


def test_reciprocal_ranks_are_summed_best_first() -> None:
    found = fuse([[("a", 0.9), ("b", 0.8), ("c", 0.1)], [("c", 7.0), ("b", 2.0)]], 50)
    assert found == [("c", 1 / 62 + 1 / 60), ("b", 1 / 61 + 1 / 61), ("a", 1 / 60)]


def test_equals_share_the_rank_of_the_first_and_the_next_counts_all_of_them() -> None:
    first = [("a", 2.0), ("b", 2.0), ("c", 2.0 - 1e-9), ("d", 1.0)]
    assert fuse([first], 50) == [("a", 1 / 60), ("b", 1 / 60), ("c", 1 / 60), ("d", 1 / 63)]
    assert fuse([[first[2], first[1], first[0], first[3]]], 50) == fuse([first], 50)


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
    assert [point for point, _ in fuse([ranking], 2)] == [point for point, _ in ranking[:kept]]


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
