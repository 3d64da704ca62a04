"""What a person said of made rows, and how far that agrees with the filters. Knows no page and no terminal.

ROWS/reviewed.jsonl    one verdict a line; the last on a row counts
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lorag.pipeline.storage.jsonl import read_lines
from lorag.pipeline.storage.strict_json import build

REVIEWED = "reviewed.jsonl"

PRECISE = 0.8
"""A filter below this precision is named."""

FEW = 5
"""With fewer verdicts than these, nothing is said of a filter."""


class Verdict(StrEnum):
    KEEP = "keep"
    DROP = "drop"
    CORRECT = "correct"


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a person said of an item; `question` and `answer` are as corrected."""

    id: str
    verdict: Verdict
    question: str
    answer: str
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the items that a filter dropped, how many the person drops too. The name is empty for those that passed all filters:
    then how many the person keeps."""

    filter: str
    agreed: int
    seen: int

    @property
    def precision(self) -> float:
        return self.agreed / self.seen

    @property
    def is_weak(self) -> bool:
        return self.seen >= FEW and self.precision < PRECISE

    def __str__(self) -> str:
        """One sentence, as terminal and page show it. A weak filter is named, with what to do."""
        of = f"dropped by “{self.filter}”, you drop too" if self.filter else "that passed all filters, you keep"
        advice = "look at this filter" if self.filter else "do not train on the rest before you know why"
        weak = f", below {PRECISE:g}: {advice}" if self.is_weak else ""
        return f"Of {self.seen} {of} {self.agreed} ({self.precision:.2f}){weak}."


def read_reviewed(folder: Path) -> tuple[Reviewed, ...]:
    """The last verdict on each item. Raises DataError for a damaged file."""
    path = folder / REVIEWED
    if not path.is_file():
        return ()
    found = {each.id: each for each in (build(Reviewed, line.fields, line.where) for line in read_lines(path))}
    return tuple(found.values())


def agreements(reviewed: Sequence[Reviewed]) -> tuple[Agreement, ...]:
    """How far the person agrees with the filters together, then with each one."""
    counted: dict[str, list[bool]] = defaultdict(list)
    for each in reviewed:
        dropped = each.verdict is Verdict.DROP
        counted[each.filter].append(dropped if each.filter else not dropped)
    return tuple(Agreement(name, sum(said), len(said)) for name, said in sorted(counted.items()))
