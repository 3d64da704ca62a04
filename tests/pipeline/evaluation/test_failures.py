"""What a candidate failed to answer: worst of its metric in a comparison, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lorag.pipeline.evaluation.ablation import NDCG, Configuration, Measured, difference
from lorag.pipeline.evaluation.answers import F1, WORDS, WRONG_REFUSALS
from lorag.pipeline.evaluation.failures import failures_as_wrong
from lorag.pipeline.evaluation.judge_metrics import TASKS_F1
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.rewrites import ROUGE_1
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome

NOTHING = ScoreTable(())
EMPTY = Measured(Configuration("a", frozenset()), NOTHING, NOTHING, NOTHING, (), {})


def table(metric: str, values: Mapping[str, float | None]) -> ScoreTable:
    """Items with a value; None failed."""
    return ScoreTable(
        tuple(
            ItemScores(id_, id_, Outcome.FAILED, {}) if value is None else ItemScores(id_, id_, Outcome.OK, {metric: value})
            for id_, value in values.items()
        )
    )


def with_table(part: str, metric: str, values: Mapping[str, float | None]) -> Measured:
    changed: dict[str, Any] = {part: table(metric, values)}
    return replace(EMPTY, **changed)


@pytest.mark.parametrize(
    ("metric", "part", "worst"),
    [(F1, "answers", 0), (WRONG_REFUSALS, "answers", 1), (ROUGE_1, "rewrites", 0), (NDCG, "retrieval", 0)],
)
def test_a_failure_is_the_worst_value_if_the_reference_has_one(metric: str, part: str, worst: float) -> None:
    reference = with_table(part, metric, {"a": 0.2, "b": 0.4, "c": None, "d": 0.6})
    candidate = with_table(part, metric, {"a": 0.9, "b": None, "c": None, "d": 0.7})
    counted = failures_as_wrong(reference, candidate, metric)
    assert getattr(counted, part).values(metric) == {"a": 0.9, "b": worst, "d": 0.7}
    before, after, found = difference(reference, counted, metric)
    assert (before, after, found.n) == (pytest.approx(1.2 / 3), pytest.approx((1.6 + worst) / 3), 3)
    assert failures_as_wrong(candidate, reference, metric) == reference  # the other way round nothing failed but c


def test_the_length_of_an_answer_that_is_none_is_not_known() -> None:
    reference = replace(EMPTY, answers=table(WORDS, {"a": 3, "b": 4}))
    candidate = replace(EMPTY, answers=table(WORDS, {"a": 3, "b": None}))
    assert failures_as_wrong(reference, candidate, WORDS) == candidate


def test_an_item_without_a_value_that_did_not_fail_keeps_none() -> None:
    reference = replace(EMPTY, answers=table(F1, {"a": 1, "b": 1}))
    candidate = replace(
        EMPTY, answers=ScoreTable((ItemScores("a", "a", Outcome.OK, {}), ItemScores("b", "b", Outcome.OK, {F1: 1})))
    )
    assert failures_as_wrong(reference, candidate, F1) == candidate


def judged(labels: Mapping[str, tuple[str, str | None]]) -> Measured:
    items = (Judged(id_, gold, label, {}, Outcome.OK if label else Outcome.FAILED, id_) for id_, (gold, label) in labels.items())
    return replace(EMPTY, judgments=tuple(items))


def test_a_failed_judgment_is_a_wrong_label_of_its_task() -> None:
    reference = judged({"1": ("t: x", "t: x"), "2": ("t: y", "t: x"), "3": ("t: y", "t: y"), "4": ("u: z", None)})
    candidate = judged({"1": ("t: x", "t: x"), "2": ("t: y", None), "3": ("t: y", "t: y"), "4": ("u: z", None)})
    counted = failures_as_wrong(reference, candidate, TASKS_F1)
    assert [each.label for each in counted.judgments] == ["t: x", "t: x", "t: y", None]
    before, after, found = difference(reference, counted, TASKS_F1)
    assert found.n == 3 and before == after == pytest.approx((2 / 3 + 2 / 3) / 2)  # x: 2·1/(1+2), y: 2·1/(2+1)
