"""Two rankings of the same points → one, by reciprocal ranks (Cormack et al. 2009). Knows no engine.

Points of equal score have the same rank. An engine orders equal scores arbitrarily, differently in each copy of a collection.
So its own fusion would find other passages in the measured index than in the serving one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lorag.pipeline.retrieval.store import Search

RRF_K = 60
"""The constant of reciprocal rank fusion, 1 / (k + rank) summed over both rankings, the best rank being 0."""

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
        list(next(left))[:k] if search.words is None else fuse([next(left), next(left)], prefetch_depth(k))[:k]
        for search in searches
    ]


def fuse(rankings: Sequence[Ranking], depth: int) -> list[tuple[str, float]]:
    """The points of all rankings by the sum of their reciprocal ranks, best first, equals by id.

    Of each ranking at most `depth` points count. It must hold one more, if there is one: equal scores on both sides of the cut
    are left out together, since their order is arbitrary.
    """
    sums: dict[str, float] = {}
    for ranking in rankings:
        for point, rank in _ranks(ranking, depth):
            sums[point] = sums.get(point, 0.0) + 1 / (RRF_K + rank)
    return sorted(sums.items(), key=lambda found: (-found[1], found[0]))


def _ranks(ranking: Ranking, depth: int) -> Iterator[tuple[str, int]]:
    """Each point with the number of better points, without equal scores at the cut."""
    start = 0
    while start < min(depth, len(ranking)):
        best = ranking[start][1]
        end = start + 1
        while end < len(ranking) and best - ranking[end][1] <= TIED * abs(best):
            end += 1
        if end > depth:
            return
        yield from ((point, start) for point, _ in ranking[start:end])
        start = end
