"""The judge's metrics by task, by hand and against scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lorag.pipeline.evaluation.judge_metrics import (
    MACRO_F1,
    TASKS_F1,
    figure,
    figure_interval,
    is_judge_metric,
    label_pairs,
    task_accuracy,
    task_f1,
    tasks_of,
)
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.label_significance import macro_f1_interval, macro_f1_test, paired_macro_f1
from lorag.pipeline.records import Outcome

INTENTS = [f"intent: {name}" for name in "abcdef"]


def judged(rows: list[tuple[str, str | None]], start: int = 0) -> tuple[Judged, ...]:
    """Gold and given labels; each item is its own group."""
    return tuple(
        Judged(f"j{n}", gold, given, {}, Outcome.OK if given else Outcome.FAILED, f"g{n}")
        for n, (gold, given) in enumerate(rows, start)
    )


PERFECT = [(label, label) for label in INTENTS]
LARGE, SMALL = "size: large", "size: small"
GUESSED = [(LARGE, LARGE), (SMALL, LARGE), (LARGE, SMALL), (SMALL, SMALL)]
BOTH = judged(PERFECT + GUESSED)


def test_perfect_intents_do_not_hide_guesses_elsewhere() -> None:
    """Intents 1, sizes 1/2 each (2 · 1 / (2 + 2)): pooled (6 + 2 · 0.5) / 8, and over the tasks (1 + 0.5) / 2."""
    assert figure(MACRO_F1, BOTH) == pytest.approx(7 / 8)
    assert figure(TASKS_F1, BOTH) == pytest.approx(0.75)
    assert [figure(task_f1(task), BOTH) for task in ("intent", "size")] == [1, pytest.approx(0.5)]
    assert [figure(task_accuracy(task), BOTH) for task in ("intent", "size")] == [1, 0.5]
    assert tasks_of(BOTH) == ("intent", "size")


def test_a_judgment_without_a_label_counts_for_nothing() -> None:
    failed = (*BOTH, *judged([("size: small", None)], start=20))
    assert figure(task_f1("size"), failed) == figure(task_f1("size"), BOTH)
    assert figure(task_f1("colour"), BOTH) is None
    assert figure(TASKS_F1, judged([("size: small", None)])) is None


@pytest.mark.parametrize("metric", [MACRO_F1, TASKS_F1, task_f1("size"), task_accuracy("size")])
def test_the_interval_is_of_the_figure(metric: str) -> None:
    found = figure_interval(metric, BOTH)
    assert found.value == pytest.approx(figure(metric, BOTH))
    assert found.n == found.groups == (4 if "size" in metric else 10)
    assert is_judge_metric(metric) and not is_judge_metric("F1")


def test_pairs_have_a_label_on_both_sides_and_the_same_gold() -> None:
    base = judged([(LARGE, SMALL), (SMALL, None), (SMALL, SMALL), (LARGE, LARGE)])
    tuned = judged([(LARGE, LARGE), (SMALL, SMALL), (LARGE, LARGE), (LARGE, SMALL)])
    pairs = label_pairs(task_accuracy("size"), base, tuned)
    assert [each.id for each in pairs.base] == [each.id for each in pairs.tuned] == ["j0", "j3"]
    assert pairs.groups == ["g0", "g3"] and pairs.difference().value == 0
    effect = label_pairs(task_f1("size"), base, tuned).effect()
    assert (effect.rose, effect.fell, effect.n) == (1, 1, 2)


def by_task(gold: list[str], given: list[str], tasks: list[str]) -> float:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with sentence-transformers")
    found = []
    for task in sorted(set(tasks)):
        at = [n for n, each in enumerate(tasks) if each == task]
        found.append(metrics.f1_score([gold[n] for n in at], [given[n] for n in at], average="macro"))
    return float(np.mean(found))


def test_the_mean_over_tasks_agrees_with_scikit_learn_and_equal_labels_of_two_tasks_are_two_classes() -> None:
    rng = np.random.default_rng(5)
    tasks = [str(each) for each in rng.choice(["one", "two", "three"], size=80)]
    gold, base, tuned = ([str(each) for each in rng.choice(["a", "b", "c"], size=80)] for _ in range(3))
    assert macro_f1_interval(gold, base, tasks=tasks).value == pytest.approx(by_task(gold, base, tasks))
    expected = by_task(gold, tuned, tasks) - by_task(gold, base, tasks)
    assert paired_macro_f1(gold, base, tuned, tasks=tasks).value == pytest.approx(expected)
    alike = ["x"] * 80
    assert macro_f1_interval(gold, base, tasks=alike) == macro_f1_interval(gold, base)


def test_the_test_of_the_mean_over_tasks_flips_what_leaving_out_a_group_changes() -> None:
    gold, base, tuned = list("aabbab"), list("abbaab"), list("aabbaa")
    tasks, groups = list("ssttst"), [1, 2, 2, 3, 4, 4]

    def difference(kept: list[int]) -> float:
        of, before, after, task = ([side[at] for at in kept] for side in (gold, base, tuned, tasks))
        return by_task(of, after, task) - by_task(of, before, task)

    whole, sizes = difference(list(range(6))), [1, 2, 1, 2]
    left_out = [difference([at for at in range(6) if groups[at] != group]) for group in (1, 2, 3, 4)]
    changes = [(whole - each) * (6 - size) for each, size in zip(left_out, sizes, strict=True)]
    sums = [whole * size + change - size * sum(changes) / 6 for size, change in zip(sizes, changes, strict=True)]
    found = macro_f1_test(gold, base, tuned, tasks=tasks, groups=groups)
    assert found.of.sums == pytest.approx(sums)
    signs = list(itertools.product((1, -1), repeat=4))
    reached = [abs(sum(s * c for s, c in zip(each, sums, strict=True))) >= abs(sum(sums)) - 1e-12 for each in signs]
    assert found.p == pytest.approx(sum(reached) / 16)
