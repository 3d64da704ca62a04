"""Groups, their contributions and the CR2 error, against its definition by full matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.groups import Interval, cluster_error, contributions_of, group_codes


def by_matrices(values: list[float], groups: list[str]) -> tuple[float, float]:
    """CR2 and its degrees of freedom for a regression on a constant, as Bell and McCaffrey (2002) define them."""
    n = len(values)
    x, y = np.ones((n, 1)), np.array(values)
    hat = x @ x.T / n
    residuals = y - y.mean()
    variance, columns = 0.0, []
    for name in dict.fromkeys(groups):
        at = np.array([each == name for each in groups])
        block = np.eye(at.sum()) - hat[np.ix_(at, at)]
        roots, vectors = np.linalg.eigh(block)
        adjust = vectors @ np.diag(1 / np.sqrt(roots)) @ vectors.T
        variance += float((x[at].T @ adjust @ residuals[at]).item() ** 2) / n**2
        columns.append((np.eye(n) - hat)[:, at] @ adjust @ x[at][:, 0] / n)
    form = np.array(columns) @ np.array(columns).T
    return math.sqrt(variance), float(np.trace(form) ** 2 / np.sum(form**2))


def test_the_error_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(5)
    groups = [f"doc{at}" for at in rng.integers(0, 6, size=30)]
    values = rng.normal(size=30).tolist()
    found = cluster_error(contributions_of(np.array(values), group_codes(groups, 30)))
    assert (found.error, found.freedom) == pytest.approx(by_matrices(values, groups))


def test_equal_groups_have_one_degree_of_freedom_less_than_their_number() -> None:
    # residuals -1.5 -.5 .5 1.5 in groups of two: sums -2 and 2; sqrt(2/1 · 8) / 4
    found = cluster_error(contributions_of(np.array([1.0, 2.0, 3.0, 4.0]), group_codes(["a", "a", "b", "b"], 4)))
    assert (found.error, found.freedom) == (pytest.approx(1.0), pytest.approx(1.0))
    alone = cluster_error(contributions_of(np.arange(10.0), group_codes(None, 10)))
    assert alone.freedom == pytest.approx(9) and alone.error == pytest.approx(np.arange(10).std(ddof=1) / math.sqrt(10))


def test_contributions_add_up_to_the_mean() -> None:
    of = contributions_of(np.array([1.0, 2.0, 6.0]), group_codes(["a", "b", "a"], 3))
    assert (of.sums.tolist(), of.sizes.tolist(), of.value, of.count, of.n) == ([7.0, 2.0], [2.0, 1.0], 3.0, 2, 3)
    assert of.residuals().tolist() == [1.0, -1.0]


@pytest.mark.parametrize(
    ("low", "high", "groups", "shown"),
    [(0.1, 0.2, 8, True), (-0.2, -0.1, 8, True), (0.0, 0.2, 8, False), (-0.1, 0.2, 80, False), (0.1, 0.2, 7, False)],
)
def test_a_difference_is_shown_by_eight_groups_and_an_interval_clear_of_zero(
    low: float, high: float, groups: int, shown: bool
) -> None:
    assert Interval(0.1, low, high, 100, groups).is_shown is shown


@pytest.mark.parametrize(
    ("groups", "count", "says"),
    [(["a"], 2, "1 group keys for 2 items"), (["a", "a"], 2, "independent groups of items, found 1"), (None, 0, "found 0")],
)
def test_bad_groups_are_refused(groups: list[str] | None, count: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        group_codes(groups, count)
