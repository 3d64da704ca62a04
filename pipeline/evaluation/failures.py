"""What a candidate failed to answer counts as wrong when it is compared for a promotion.

A failed reply has no score, and figures leave it out. A comparison over the items that both systems answered would then be over
what the candidate finds easy: one that fails wherever it would be wrong had no wrong answer. Items that the reference failed on
stay left out, which favours the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lorag.pipeline.evaluation import answers, rewrites
from lorag.pipeline.evaluation.ablation import LOWER_IS_BETTER, Measured, table_of
from lorag.pipeline.evaluation.judge_metrics import is_judge_metric, task_of
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.latency import LATENCY
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome

NOT_OF_SILENCE = frozenset({answers.SUPPORTED, answers.WORDS, answers.WORD_ORDER, answers.INVENTED, rewrites.INVENTED, LATENCY})
"""Metrics of what a reply says: a failure has no value of them."""


def failures_as_wrong(reference: Measured, candidate: Measured, metric: str) -> Measured:
    """`candidate` with the worst value of `metric`, or a wrong label, for each item that it failed on and `reference` did not."""
    if is_judge_metric(metric):
        known = {each.id for each in reference.judgments if each.label is not None}
        return replace(candidate, judgments=_wrong_labels(candidate.judgments, known))
    part, name = table_of(metric)
    if name in NOT_OF_SILENCE:
        return candidate
    before: ScoreTable = getattr(reference, part)
    after: ScoreTable = getattr(candidate, part)
    known, worst = set(before.values(name)), 1.0 if metric in LOWER_IS_BETTER else 0.0
    items = (_scored(item, name, worst) if _failed(item, name) and item.id in known else item for item in after.items)
    changed: dict[str, Any] = {part: replace(after, items=tuple(items))}
    return replace(candidate, **changed)


def _failed(item: ItemScores, name: str) -> bool:
    return item.outcome is Outcome.FAILED and name not in item.values


def _scored(item: ItemScores, name: str, value: float) -> ItemScores:
    return replace(item, values={**item.values, name: value})


def _wrong_labels(judgments: Sequence[Judged], known: set[str]) -> tuple[Judged, ...]:
    """A failed judgment gets a label of its task that is not the gold one: a miss of one class and a false alarm of another."""
    labels = dict.fromkeys(each.gold for each in judgments)
    found = []
    for each in judgments:
        if each.label is None and each.id in known:
            others = [label for label in labels if label != each.gold and label.startswith(f"{task_of(each)}: ")]
            each = replace(each, label=(others or [""])[0], probabilities={}, outcome=Outcome.OK)
        found.append(each)
    return tuple(found)
