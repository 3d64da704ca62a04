"""Two rankings of the same points → one, by a weighted sum of their scores (Bruch et al. 2023, arXiv 2210.11934).

A sum of reciprocal ranks (Cormack et al. 2009) throws away by how much a passage is better. On the example domain it found less
than BM25 alone; the sum of scores finds more than either.

Scores of equal points are made exactly equal. An engine orders them arbitrarily, differently in each copy of a collection. So
its own order would find other passages in the measured index than in the serving one. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lorag.pipeline.retrieval.store import Search

TIED = 1e-6
"""Scores whose relative difference is below this are equal: embedding in another batch changes a score by as little."""

Ranking = Sequence[tuple[str, float]]
"""Ids of points with their scores, best first."""


def prefetch_depth(k: int) -> int:
    """Results of each ranking that are fused: enough for one ranking's best to gain from the other's tail."""
    return max(4 * k, 50)


def fetched(search: Search, k: int) -> int:
    """Results that a search for `k` points needs of each of its rankings."""
    return k if search.words is None else prefetch_depth(k) + 1


def best_of(searches: Sequence[Search], rankings: Iterable[Ranking], k: int) -> list[list[tuple[str, float]]]:
    """The best `k` points of each search. `rankings` hold one by vector for each, followed by one by words if it has any."""
    left = iter(rankings)
    return [
        list(next(left))[:k] if search.words is None else fuse(next(left), next(left), search.words_share, prefetch_depth(k))[:k]
        for search in searches
    ]


def fuse(vectors: Ranking, words: Ranking, words_share: float, depth: int) -> list[tuple[str, float]]:
    """The points of both rankings by (1 - share) · cosine + share · BM25 / the best BM25, best first, equals by id.

    Of each ranking at most `depth` points count. It must hold one more, if there is one: equal scores on both sides of the cut
    are left out together, since their order is arbitrary. A point that lacks a cosine gets the lowest, one without words 0.
    """
    cosines, matches = dict(_kept(vectors, depth)), dict(_kept(words, depth))
    lowest, best = min(cosines.values(), default=0.0), max(matches.values(), default=0.0) or 1.0
    scores = {
        point: (1 - words_share) * cosines.get(point, lowest) + words_share * matches.get(point, 0.0) / best
        for point in {**cosines, **matches}
    }
    return sorted(scores.items(), key=lambda found: (-found[1], found[0]))


def levelled(ranking: Ranking, tied: float = TIED) -> list[tuple[str, float]]:
    """The ranking with equal scores made exactly equal: each gets the best of its group."""
    level: list[tuple[str, float]] = []
    for point, score in ranking:
        same = bool(level) and level[-1][1] - score <= tied * abs(level[-1][1])
        level.append((point, level[-1][1] if same else score))
    return level


def _kept(ranking: Ranking, depth: int) -> list[tuple[str, float]]:
    """The first `depth` points, without those that are equal to the first beyond."""
    level = levelled(ranking)
    beyond = level[depth][1] if depth < len(level) else None
    return [(point, score) for point, score in level[:depth] if score != beyond]
