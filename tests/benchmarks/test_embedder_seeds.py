"""The interval that takes seeds as drawn at random too."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.embedder_seeds import TUNED, report, with_seeds
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import BASE_CHAIN


def test_without_a_spread_of_seeds_it_is_students_interval_of_the_items() -> None:
    found = with_seeds([[1.0, 2.0, 3.0]] * 2, ["a", "b", "c"])
    assert found.value == 2.0
    assert found.high - 2.0 == pytest.approx(4.302653 / 3**0.5)  # t of 2 degrees, standard deviation 1


def test_without_a_spread_of_items_it_is_students_interval_of_the_seeds() -> None:
    found = with_seeds([[0.0] * 4, [1.0] * 4], ["a", "b", "c", "d"])
    assert (found.value, found.n, found.groups) == (0.5, 4, 4)
    assert found.high - 0.5 == pytest.approx(12.706205 * 0.5)  # t of 1 degree, √(0.5 / 2 seeds)


def test_it_covers_the_mean_over_both() -> None:
    """Five seeds, twelve groups of four items, all effects drawn. 600 draws: 95 % ± 2 if it covers exactly."""
    draw = np.random.default_rng(0)
    groups = [f"g{n // 4}" for n in range(48)]
    held = 0
    for _ in range(600):
        seeds, of_groups = draw.normal(0, 0.5, (5, 1)), np.repeat(draw.normal(0, 0.6, 12), 4)
        found = with_seeds((0.3 + seeds + of_groups + draw.normal(0, 1, (5, 48))).tolist(), groups)
        held += found.low <= 0.3 <= found.high
    assert held / 600 >= 0.93


def test_one_seed_and_one_group_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        with_seeds([[1.0, 2.0]], ["a", "b"])
    with pytest.raises(InputError, match="at least two independent groups"):
        with_seeds([[1.0, 2.0], [1.0, 2.0]], ["a", "a"])


def test_the_report_pairs_items_by_id() -> None:
    def run(version: str, x: float, y: float) -> dict[str, object]:
        def of(first: float, second: float) -> dict[str, dict[str, float]]:
            return {"y": {"nDCG@10": second, "Recall@5": second}, "x": {"nDCG@10": first, "Recall@5": first}}

        return {"version": version, BASE_CHAIN: of(0.2, 0.4), TUNED: of(x, y), "groups": {"x": "gx", "y": "gy"}}

    found = report([run("0001-aaaaaaaa", 0.5, 0.4), run("0002-bbbbbbbb", 0.7, 0.6)])
    assert found["nDCG@10"]["frozen"] == pytest.approx(0.3)
    assert found["nDCG@10"]["tuned by seed"] == pytest.approx([0.45, 0.65])
    assert found["nDCG@10"]["spread of seeds"] == pytest.approx(0.2 / 2**0.5)
    assert found["nDCG@10"]["difference"]["value"] == pytest.approx(0.25)
