"""The simulated populations have the true values that intervals are held against, and the cells count what they say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import (
    FIGURES,
    LABELS,
    LIKENESS,
    OTHER_SHAPE,
    REPLICATES,
    Cell,
    Labels,
    Values,
    draw_labels,
    group_sizes,
    is_promoted,
    scores,
    simulate,
    summary,
)
from benchmarks.coverage_tables import coverage_rows, promotion_rows
from lorag.pipeline.adapters.card import read_card
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.records import Role
from tests.claims import claim

EVERY = {each.name: each for each in (*(values for _, values in FIGURES), *(each for pair in OTHER_SHAPE for each in pair))}


@pytest.mark.parametrize("values", EVERY.values(), ids=EVERY.keys())
def test_the_mean_is_that_of_the_quantiles(values: Values) -> None:
    probabilities = (np.arange(2_000_000) + 0.5) / 2_000_000
    assert values.quantile(probabilities).mean() == pytest.approx(values.mean, rel=2e-3)


@pytest.mark.parametrize("labels", LABELS, ids=lambda each: each.name)
def test_the_true_macro_f1_is_that_of_many_items(labels: Labels) -> None:
    from sklearn.metrics import f1_score

    gold, (given, _) = draw_labels(np.random.default_rng(3), labels, [20] * 4_000)
    assert f1_score(gold, given, average="macro") == pytest.approx(labels.macro_f1, abs=0.01)


def test_systems_with_other_shapes_have_one_mean() -> None:
    assert all(first.mean == pytest.approx(second.mean) for first, second in OTHER_SHAPE)


def test_items_of_a_group_are_alike() -> None:
    from scipy import stats

    first, second = (stats.norm.ppf(each) for each in scores(np.random.default_rng(1), [2] * 40_000))
    pairs = first.reshape(-1, 2)
    assert np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1] == pytest.approx(LIKENESS, abs=0.02)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.5, abs=0.02)
    assert first.std() == pytest.approx(1, abs=0.02)


def test_skewed_groups_differ_in_size() -> None:
    rng = np.random.default_rng(2)
    assert group_sizes(rng, 5, "equal") == [6] * 5
    sizes = group_sizes(rng, 2_000, "skewed")
    assert min(sizes) == 1 and max(sizes) >= 30 and np.mean(sizes) == pytest.approx(6, rel=0.1)


def test_a_cell_counts_where_the_interval_lies() -> None:
    cell = Cell("rate", "0/1", "equal", 8)
    for low, high in ((0.1, 0.5), (0.3, 0.5), (0.0, 0.2), (0.2, 0.25)):
        cell.count(low, high, 0.25)
    assert (cell.replicates, cell.held, cell.below, cell.above) == (4, 2, 1, 1)
    assert cell.width == pytest.approx(0.4 + 0.2 + 0.2 + 0.05)


def test_a_promotion_is_the_admission_rules() -> None:
    card = read_card(bundled_starters()[Role.REWRITER])
    assert is_promoted(card, claim(low=0.01, groups=8))
    assert not is_promoted(card, claim(low=-0.01, groups=8)) and not is_promoted(card, claim(low=0.01, groups=7))


def test_every_kind_has_a_row() -> None:
    rows = summary(simulate(2, groups=(5, 8)))
    kinds = {"rate", "mean", "other figure", "macro-F1", "difference", "other shape", "macro-F1 difference"}
    assert {(row["kind"], row["groups"]) for row in rows} == {(kind, groups) for kind in kinds for groups in (5, 8)}
    assert all((row["promoted"] is None) == (row["kind"] in {"rate", "mean", "other figure", "macro-F1"}) for row in rows)
    assert all(row["promoted"] in (None, 0.0) for row in rows if row["groups"] == 5)  # too few groups for any promotion
    assert all(row["lowest"] <= row["coverage"] <= 1 for row in rows) and REPLICATES >= 1_000


def cell(values: str, groups: int, held: int, *, sizes: str = "equal", promoted: int = 0) -> dict[str, object]:
    return {
        "kind": "difference",
        "values": values,
        "groups": groups,
        "sizes": sizes,
        "replicates": 1_000,
        "held": held,
        "promoted": promoted,
    }


def test_the_tables_name_what_misses_by_more_than_two_standard_errors() -> None:
    """At 93 % of 1,000 two standard errors are 1.6 points, at 3 % 1.1."""
    cells = [
        cell("even", 8, 950),
        cell("odd", 8, 913),
        cell("odd", 8, 950, sizes="skewed", promoted=41),
        cell("odd", 10, 900, sizes="skewed", promoted=42),
        cell("near", 10, 914, promoted=40),
    ]
    summaries = [
        {"kind": "difference", "groups": groups, "coverage": 0.94, "lowest": 0.9, "promoted": 0.02, "highest": 0.042}
        for groups in (8, 10)
    ]
    found = {"cells": cells, "summary": summaries}
    head, (row,) = coverage_rows(found)
    assert head == ["groups:", "8", "10", "below 93 %"]
    assert row == ["paired differences (sign flips)", "94.0 (90.0)", "94.0 (90.0)", "odd: 8, 10*"]
    _, (row,) = promotion_rows(found)
    assert row == ["paired differences (sign flips)", "2.0 (4.2)", "2.0 (4.2)", "odd: 8*, 10*"]
