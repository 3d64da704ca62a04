"""Kendall's τ between made and human questions, against values worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.made_tests import agreement, made_questions


def test_tau_counts_the_pairs_of_settings_that_both_order_alike() -> None:
    made = np.array([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.4, 0.4]])
    human = np.array([[0.1, 0.1], [0.3, 0.3], [0.2, 0.2], [0.4, 0.4]])
    found = agreement(made, human, ["a", "b"], ["a", "b"])
    assert found["tau"] == pytest.approx((5 - 1) / 6)  # of six pairs one is ordered the other way
    assert (found["low"], found["high"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))  # all groups say the same
    assert found["regret"] == 0.0


def test_the_interval_draws_whole_groups_and_regret_is_of_human_questions() -> None:
    made = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    human = np.array([[0.2, 0.2, 0.2], [0.5, 0.5, 0.5]])
    found = agreement(made, human, ["a", "a", "b"], ["a", "a", "b"])
    assert found["tau"] == -1.0
    assert (found["low"], found["high"]) == (-1.0, 1.0)  # with group b alone the made questions agree
    assert found["regret"] == pytest.approx(0.3)


def test_only_made_rows_are_read(tmp_path: Path) -> None:
    row = {"query": "Who?", "positive_ids": ["d#1"]}
    for place, origin in (("test", "human"), ("made-test", "made")):
        (tmp_path / place).mkdir()
        line = {"query_id": place, **row, "origin": origin}
        (tmp_path / place / "embedder.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert [each.query_id for each in made_questions(tmp_path)] == ["made-test"]
