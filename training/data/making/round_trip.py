"""The round trip: a search for a question must find the passage that it was written from.

The search is the one that serves. Its ranking stays with the question: from it come distractors and hard negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lorag.training.data.making.records import Candidate, Filter, Rejected, Scores
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.writing import Progress

DEPTH = 20
"""Passages looked at for each question."""
_BATCH = 128
"""Questions searched together: their passages are read once for all."""


class CorpusSearch(Protocol):
    """Searches in all passages of the corpus; each result is passage ids, best first."""

    def find(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """As serving finds them."""
        ...

    def find_by_words(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """By BM25 alone."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """A question whose passage was found, and the ranking it was found in."""

    candidate: Candidate
    scores: Scores
    ranking: tuple[str, ...]


def round_trip(
    candidates: Sequence[Candidate], search: CorpusSearch, settings: MakingSettings, on_progress: Progress | None = None
) -> tuple[list[Found], list[Rejected]]:
    """Those whose passage is among the first `found`, and the others."""
    found: list[Found] = []
    rejected: list[Rejected] = []
    for start in range(0, len(candidates), _BATCH):
        part = candidates[start : start + _BATCH]
        questions = [each.question for each in part]
        rankings = search.find(questions, DEPTH)
        by_words = search.find_by_words(questions, DEPTH)
        for each, ranking, words in zip(part, rankings, by_words, strict=True):
            gold = each.span.passage_id
            scores = Scores(rank_in(gold, ranking), rank_in(gold, words))
            if 0 < scores.rank <= settings.found:
                found.append(Found(each, scores, tuple(ranking)))
            else:
                place = f"at rank {scores.rank}" if scores.rank else f"not among the first {DEPTH}"
                rejected.append(Rejected(each, Filter.ROUND_TRIP, f"its passage is {place}"))
        if on_progress is not None:
            on_progress("searches", start + len(part), len(candidates))
    return found, rejected


def rank_in(passage_id: str, ranking: Sequence[str]) -> int:
    """The rank from 1; 0 if it is not there."""
    return ranking.index(passage_id) + 1 if passage_id in ranking else 0
