"""Macro-F1's intervals and tests against brute-force loops, enumeration, root finding and the judge's own figure."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.judgments import Judged, score_judgments
from lorag.pipeline.evaluation.label_significance import (
    macro_f1_interval,
    macro_f1_test,
    paired_macro_f1,
)


def plain_macro_f1(gold: list[str], given: list[str]) -> float:
    found = []
    for label in sorted({*gold, *given}):
        hits = sum(truth == guess == label for truth, guess in zip(gold, given, strict=True))
        found.append(2 * hits / (gold.count(label) + given.count(label)))
    return sum(found) / len(found)


def test_macro_f1_is_the_judges_own_figure() -> None:
    gold, given = list("aaabbc"), list("aabbcc")
    items = [Judged(str(at), truth, guess) for at, (truth, guess) in enumerate(zip(gold, given, strict=True))]
    assert macro_f1_interval(gold, given).value == pytest.approx(score_judgments(items).macro_f1)


def test_the_figures_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with sentence-transformers")
    gold, given = list("aaabbccca"), list("aabbccdca")
    assert macro_f1_interval(gold, given).value == pytest.approx(metrics.f1_score(gold, given, average="macro"))


GOLD, BASE, TUNED = list("aabbccab"), list("abbaccbb"), list("aabbacab")
GROUPS = [1, 1, 2, 2, 3, 3, 4, 5]


def contributions(gold: list[str], systems: list[list[str]]) -> list[float]:
    """What each group adds to the last system's macro-F1 minus the first one's, by leaving it out; plain loops."""

    def figure(kept: list[int]) -> float:
        labels = [gold[at] for at in kept]
        figures = [plain_macro_f1(labels, [system[at] for at in kept]) for system in systems]
        return figures[-1] - (figures[0] if len(systems) > 1 else 0.0)

    n, whole = len(gold), figure(list(range(len(gold))))
    names = list(dict.fromkeys(GROUPS))
    changes = [(whole - figure([at for at in range(n) if GROUPS[at] != name])) * (n - GROUPS.count(name)) for name in names]
    return [
        whole * GROUPS.count(name) + change - GROUPS.count(name) * sum(changes) / n
        for name, change in zip(names, changes, strict=True)
    ]


def test_a_group_contributes_what_leaving_it_out_changes() -> None:
    test = macro_f1_test(GOLD, BASE, TUNED, groups=GROUPS)
    assert test.of.sums == pytest.approx(contributions(GOLD, [BASE, TUNED]))
    assert test.of.sizes.tolist() == [2, 2, 2, 1, 1] and test.of.n == 8
    value = plain_macro_f1(GOLD, TUNED) - plain_macro_f1(GOLD, BASE)
    assert paired_macro_f1(GOLD, BASE, TUNED, groups=GROUPS).value == pytest.approx(value)


def test_the_test_flips_the_signs_of_the_contributions() -> None:
    sums = contributions(GOLD, [BASE, TUNED])
    signs = itertools.product((1, -1), repeat=5)
    expected = sum(abs(sum(s * c for s, c in zip(each, sums, strict=True))) >= abs(sum(sums)) - 1e-12 for each in signs) / 32
    assert 0 < expected < 1
    assert macro_f1_test(GOLD, BASE, TUNED, groups=GROUPS).p == pytest.approx(expected)


def test_a_rare_class_makes_the_interval_wider() -> None:
    """Classes of 30 and 2 items, predicted without a fault but for two frequent ones: 4 / (1/30 + 1/2) effective items."""
    from scipy import optimize, stats

    gold = ["a"] * 30 + ["b"] * 2
    found = macro_f1_interval(gold, gold)
    items, t = 4 / (1 / 30 + 1 / 2), stats.t.ppf(0.975, 31)
    low = optimize.brentq(lambda p: (1 - p) ** 2 - t * t * p * (1 - p) / items, 0.0, 1 - 1e-9)
    assert (found.value, found.high) == (1.0, 1.0) and found.low == pytest.approx(low)
    frequent = macro_f1_interval(["a", "b"] * 16, ["a", "b"] * 16)
    assert frequent.low > found.low


@pytest.mark.parametrize("tuned_right", [0.65, 0.9])
def test_a_difference_in_ten_groups_is_covered(tuned_right: float) -> None:
    """Labels of four classes, each side right independently with its own probability; two classes are rare."""
    rng, covered = np.random.default_rng(5), 0
    groups = [at // 6 for at in range(60)]

    def figure(right: float, prior: list[float]) -> float:
        gold = np.array(prior)
        predicted = gold * right + (gold.sum() - gold) * (1 - right) / 3
        return float(np.mean(2 * gold * right / (gold + predicted)))

    prior = [0.4, 0.3, 0.2, 0.1]
    truth = figure(tuned_right, prior) - figure(0.65, prior)
    for _ in range(200):
        gold = rng.choice(4, size=60, p=prior)
        sides = [
            np.where(rng.random(60) < right, gold, (gold + rng.integers(1, 4, size=60)) % 4) for right in (0.65, tuned_right)
        ]
        found = paired_macro_f1(*([str(each) for each in side] for side in (gold, *sides)), groups=groups)
        covered += found.low <= truth <= found.high
    assert covered / 200 > 0.93 - 3 * (0.93 * 0.07 / 200) ** 0.5


@pytest.mark.parametrize(
    ("gold", "tuned", "groups", "says"),
    [
        (["a", "b"], ["a"], None, "2 gold labels but 1 predicted"),
        (["a", "b"], ["a", "b"], ["x", "x"], "at least two independent groups of items, found 1"),
        (["a", "b"], ["a", "b"], ["x"], "1 group keys for 2 items"),
    ],
)
def test_bad_input_is_refused(gold: list[str], tuned: list[str], groups: list[str] | None, says: str) -> None:
    for call in (paired_macro_f1, macro_f1_test):
        with pytest.raises(InputError, match=says):
            call(gold, gold, tuned, groups=groups)


TASKS = ["one", "one", "two", "one", "two", "two", "one", "two"]


def by_task(gold: list[str], given: list[str]) -> float:
    """The mean of the tasks' macro-F1, by plain lists."""
    figures = []
    for task in ("one", "two"):
        at = [n for n, each in enumerate(TASKS) if each == task]
        figures.append(plain_macro_f1([gold[n] for n in at], [given[n] for n in at]))
    return sum(figures) / 2


def test_tasks_count_alike_and_equal_labels_of_two_are_two_classes() -> None:
    found = macro_f1_interval(GOLD, TUNED, tasks=TASKS, groups=GROUPS)
    assert found.value == pytest.approx(by_task(GOLD, TUNED)) != pytest.approx(plain_macro_f1(GOLD, TUNED))
    both = paired_macro_f1(GOLD, BASE, TUNED, tasks=TASKS, groups=GROUPS)
    assert both.value == pytest.approx(by_task(GOLD, TUNED) - by_task(GOLD, BASE))
    with pytest.raises(InputError, match="2 tasks for 8 items"):
        macro_f1_test(GOLD, BASE, TUNED, tasks=["one", "two"], groups=GROUPS)


def test_the_effective_items_of_two_tasks_are_those_of_their_classes() -> None:
    """All right: task one has classes of 6 and 2 items, task two one class of 4. Weights 1/4, 1/4 and 1/2."""
    gold, tasks = ["a"] * 6 + ["b"] * 2 + ["a"] * 4, ["one"] * 8 + ["two"] * 4
    items = 1 / (1 / 16 / 6 + 1 / 16 / 2 + 1 / 4 / 4)
    assert macro_f1_interval(gold, gold, tasks=tasks).low == pytest.approx(items / (items + 2.200985**2), rel=1e-6)  # t of 11
