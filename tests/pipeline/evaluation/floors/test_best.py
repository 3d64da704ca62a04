"""The best floor of a metric, and what a system is worth against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from lorag.pipeline.evaluation.ablation import NDCG, Configuration, Measured, TooFew
from lorag.pipeline.evaluation.answers import F1, RIGHT_REFUSALS, WORDS, WRONG_REFUSALS
from lorag.pipeline.evaluation.floors.best import BEST_OF_TASKS, WITHOUT_FLOOR, against_floor, best_floors, floor_of
from lorag.pipeline.evaluation.judge_metrics import TASKS_F1, task_f1
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome


def system(name: str, values: Mapping[str, Sequence[float]], groups: int = 20) -> Measured:
    """A system with the answers' metrics, item n in group n modulo `groups`."""
    count = len(next(iter(values.values())))
    items = tuple(
        ItemScores(f"q{n}", f"g{n % groups}", Outcome.OK, {metric: each[n] for metric, each in values.items()})
        for n in range(count)
    )
    nothing = ScoreTable(())
    return Measured(Configuration(name, frozenset()), nothing, nothing, ScoreTable(items), (), {})


LOW, HIGH = system("low", {F1: [0.1] * 20, "cost": [0.1] * 20}), system("high", {F1: [0.3, 0.5] * 10, "cost": [0.2] * 20})


def test_the_best_is_by_mean_and_in_the_metrics_direction() -> None:
    found = best_floors([LOW, HIGH], [F1, "cost", NDCG], ["cost"])
    assert {metric: floor.configuration.name for metric, (floor, _) in found.items()} == {F1: "high", "cost": "low"}
    figure = found[F1][1]
    assert (figure.metric, figure.name, figure.value, figure.n, figure.groups) == (F1, "high", pytest.approx(0.4), 20, 20)
    assert figure.low is not None and figure.high is not None and figure.low < 0.4 < figure.high


def test_of_equals_the_first_is_taken() -> None:
    assert best_floors([LOW, system("same", {F1: [0.1] * 20})], [F1], [])[F1][0] is LOW


def test_metrics_that_a_constant_wins_have_a_reason_instead() -> None:
    refusing = system("refusing", {RIGHT_REFUSALS: [1.0] * 20, WRONG_REFUSALS: [1.0] * 20, WORDS: [3.0] * 20})
    assert best_floors([refusing], [RIGHT_REFUSALS, WRONG_REFUSALS, WORDS], []) == {}
    assert all(WITHOUT_FLOOR.values())


def test_a_figure_of_one_group_has_no_interval() -> None:
    one = floor_of(system("one", {F1: [0.2, 0.4]}, groups=1), F1)
    assert one is not None and (one.value, one.low, one.high) == (pytest.approx(0.3), None, None)
    assert floor_of(LOW, NDCG) is None


@pytest.mark.parametrize(
    ("tuned", "lower_is_better", "beaten"),
    [
        ([0.6, 0.8] * 10, False, True),
        ([0.3, 0.5] * 10, False, False),  # equal to the floor
        ([0.9, 0.0] * 10, False, False),  # better on average, not shown
        ([0.1, 0.2] * 10, False, False),
        ([0.1, 0.2] * 10, True, True),
        ([0.6, 0.8] * 10, True, False),
    ],
)
def test_a_floor_is_beaten_only_by_what_is_shown_to_be_better(tuned: list[float], lower_is_better: bool, beaten: bool) -> None:
    found = against_floor("chain", F1, HIGH, system("tuned", {F1: tuned}), [F1] if lower_is_better else [])
    assert (found.role, found.metric, found.floor, found.n, found.groups) == ("chain", F1, "high", 20, 20)
    assert (found.reference, found.difference) == (pytest.approx(0.4), pytest.approx(sum(tuned) / 20 - 0.4))
    assert found.beaten is beaten


def test_too_few_groups_are_named() -> None:
    with pytest.raises(TooFew, match=r"^chain by F1 against its floor: .* at least two independent groups"):
        against_floor("chain", F1, system("a", {F1: [0.1] * 4}, 1), system("b", {F1: [0.2] * 4}, 1), [])


def judge(name: str, **labels: str) -> Measured:
    """Judgments of a system: for each task its given labels, one letter an item; gold is `abab…`."""
    items = tuple(
        Judged(f"{task}{n}", f"{task}: {'ab'[n % 2]}", f"{task}: {given}", group=f"{task}{n}")
        for task, each in labels.items()
        for n, given in enumerate(each)
    )
    nothing = ScoreTable(())
    return Measured(Configuration(name, frozenset()), nothing, nothing, nothing, items, {})


def test_the_floor_of_the_mean_over_tasks_takes_the_best_of_each() -> None:
    """`always a` has F1 2/3 and 0 in both tasks; `rule` is right in the first alone and has no label in the second."""
    always, rule = judge("always a", one="aaaa", two="aaaa"), judge("rule", one="abab")
    found = best_floors([always, rule], [TASKS_F1, task_f1("one"), task_f1("two")], [])
    assert {metric: (floor.name, floor.value) for metric, (_, floor) in found.items()} == {
        TASKS_F1: (BEST_OF_TASKS, pytest.approx((1 + 1 / 3) / 2)),
        task_f1("one"): ("rule", 1),
        task_f1("two"): ("always a", pytest.approx(1 / 3)),
    }
    tuned = judge("tuned", one="abab", two="abab")
    against = against_floor("judge", TASKS_F1, found[TASKS_F1][0], tuned, [])
    assert (against.n, against.difference) == (8, pytest.approx(1 / 3))
