"""Choosing search weights: the best mean wins, a tie and a single group keep the default."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.search_weights import GRID, choose_weights
from lorag.pipeline.retrieval.weights import SearchWeights

DEFAULT, OTHER, THIRD = SearchWeights(), SearchWeights(1.0, 1.0, 0.0), SearchWeights(1.0, 0.0, 0.0)
GROUPS = ("a", "a", "b", "b")


def chosen_of(scores: dict[SearchWeights, Sequence[float]], groups: Sequence[str] = GROUPS) -> SearchWeights:
    return choose_weights(scores, groups).weights


def test_the_best_mean_wins() -> None:
    scores = {DEFAULT: (0.1, 0.2, 0.3, 0.4), OTHER: (0.5, 0.6, 0.6, 0.7), THIRD: (0.2, 0.3, 0.4, 0.5)}
    found = choose_weights(scores, GROUPS)
    assert found.weights == OTHER
    assert (found.questions, found.groups) == (4, 2)
    assert [each.mean for each in found.tried] == pytest.approx([0.25, 0.6, 0.35])
    assert [each.difference for each in found.tried] == pytest.approx([0.0, 0.35, 0.1])
    # By hand: differences .4 .4 .3 .3, group sums about the mean +.1 and -.1: sqrt(2 / 1 · .02) / 4.
    assert found.tried[1].error == pytest.approx(math.sqrt(0.04) / 4)


def test_no_gain_keeps_the_default() -> None:
    assert chosen_of({DEFAULT: (0.25, 0.25, 0.5, 0.5), OTHER: (0.5, 0.5, 0.25, 0.25)}) == DEFAULT
    assert chosen_of({DEFAULT: (0.25, 0.25, 0.5, 0.5), OTHER: (0.5, 0.25, 0.25, 0.25)}) == DEFAULT


def test_one_group_decides_nothing() -> None:
    scores = {DEFAULT: (0.1, 0.1, 0.1, 0.1), OTHER: (0.9, 0.9, 0.9, 0.8)}
    assert chosen_of(scores, ("a",) * 4) == DEFAULT
    assert choose_weights(scores, ("a",) * 4).tried[1].error == math.inf


def test_without_questions_it_is_refused() -> None:
    with pytest.raises(InputError, match="no question to choose search weights on"):
        choose_weights({DEFAULT: ()}, ())


def test_the_grid_begins_with_the_default_and_holds_each_single_search() -> None:
    assert GRID[0] == DEFAULT
    assert {SearchWeights(1.0, 0.0, 0.0), SearchWeights(0.0, 1.0, 0.0)} <= set(GRID)
    assert len(set(GRID)) == len(GRID)
