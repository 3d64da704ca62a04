"""How many questions each filter leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lorag.training.data.making.records import MEANINGS, Filter, Rejected


@dataclass(frozen=True, slots=True)
class Step:
    """A filter, the questions that it dropped and those that it left."""

    filter: Filter
    dropped: int
    left: int

    @property
    def meaning(self) -> str:
        return MEANINGS[self.filter]


@dataclass(frozen=True, slots=True)
class Funnel:
    """`asked` questions to `spans` spans, and the filters in order."""

    asked: int
    spans: int
    steps: tuple[Step, ...]

    @property
    def left(self) -> int:
        return self.steps[-1].left if self.steps else self.asked


def funnel_of(asked: int, spans: int, rejected: Sequence[Rejected]) -> Funnel:
    """The funnel of `asked` questions of which these were dropped."""
    dropped = Counter(each.filter for each in rejected)
    steps, left = [], asked
    for each in Filter:
        left -= dropped[each]
        steps.append(Step(each, dropped[each], left))
    return Funnel(asked, spans, tuple(steps))
