"""The report's parts that are made of the measured items: calibration task by task, and whose verdicts are shown."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lorag.evaluating.report import calibration_by_task
from lorag.pipeline.evaluation.ablation import Configuration, Measured
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.scores import ScoreTable
from lorag.pipeline.records import Outcome

NOTHING = ScoreTable(())


def system(name: str, judgments: Sequence[Judged]) -> Measured:
    return Measured(Configuration(name, frozenset()), NOTHING, NOTHING, NOTHING, tuple(judgments), {})


def judged(id_: str, gold: str, label: str, sure: float, group: str) -> Judged:
    task = gold.partition(": ")[0]
    other = f"{task}: other" if label != f"{task}: other" else f"{task}: yes"
    return Judged(id_, gold, label, {label: sure, other: 1 - sure}, group=group)


def test_calibration_is_of_each_task_alone() -> None:
    """Pooled, a judge that is sure and right in one task hides that it is sure and wrong in the other: ECE .4 is .1 and .7."""
    intents = [judged(f"i{n}", "intent: yes", "intent: yes", 0.9, f"d{n}") for n in range(4)]
    supports = [judged(f"s{n}", "support: yes", "support: other", 0.7, f"d{n % 2}") for n in range(4)]
    failed = Judged("f", "support: yes", None, {}, Outcome.FAILED, "d9")
    bare = [judged("i0", "intent: other", "intent: other", 0.5, "d0"), Judged("s0", "support: yes", "support: yes", group="d0")]
    found = calibration_by_task([system("base chain", bare), system("all adapters", [*intents, *supports, failed])])
    assert [(each.task, each.configuration, each.n, each.groups) for each in found] == [
        ("intent", "base chain", 1, 1),
        ("intent", "all adapters", 4, 4),
        ("support", "all adapters", 4, 2),  # the base's has no probabilities, the failed one no label
    ]
    assert [each.ece for each in found] == pytest.approx([0.5, 0.1, 0.7])
    assert [each.brier for each in found] == pytest.approx([0.5, 0.02, 2 * 0.49])
    assert [each.floor for each in found] == [0, 0, 0], "one label is all there is"
    assert [[(bin_.n, bin_.accuracy) for bin_ in each.bins] for each in found] == [[(1, 1.0)], [(4, 1.0)], [(4, 0.0)]]


def test_what_was_not_judged_has_no_calibration() -> None:
    assert calibration_by_task([system("base chain", ())]) == ()
