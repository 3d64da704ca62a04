"""Whole conversations end to end: each turn is rewritten, searched for and answered, with the gold turns before it as history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorag.pipeline.evaluation.ablation import ChainItem, Measured
from lorag.pipeline.evaluation.answers import NUGGET_F, RIGHT, RIGHT_REFUSALS, VITAL_NUGGETS


@dataclass(frozen=True, slots=True)
class ConversationScores:
    """`right` of `turns` were answered rightly (or refused, if no document answers), and all turns in `whole` of `conversations`.

    `vital` is the mean share of vital nuggets over the turns that have some, `nugget_f` the mean of their F, which counts length
    too; None without any. A failed turn is not right.
    """

    configuration: str
    conversations: int
    turns: int
    right: int
    whole: int
    vital: float | None
    nugget_f: float | None


def conversation_scores(items: Sequence[ChainItem], measured: Measured) -> ConversationScores:
    """Score the answered turns among `items`, conversation by conversation."""
    scores = {each.id: each.values for each in measured.answers.items}
    rights: dict[str, list[bool]] = {}
    for item in items:
        if item.answered and item.conversation:
            metric = RIGHT if item.gold.answerable else RIGHT_REFUSALS
            rights.setdefault(item.conversation, []).append(scores[item.gold.id].get(metric) == 1.0)
    ids = {item.gold.id for item in items if item.answered and item.conversation}
    vital, f = (
        [value for id_, value in measured.answers.values(metric).items() if id_ in ids] for metric in (VITAL_NUGGETS, NUGGET_F)
    )
    turns = [right for each in rights.values() for right in each]
    whole = sum(all(each) for each in rights.values())
    name = measured.configuration.name
    return ConversationScores(name, len(rights), len(turns), sum(turns), whole, _mean(vital), _mean(f))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
