"""The card of a measured adapter, as `lorag eval` and `lorag demo` print it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.services.terminal import for_project, show

if TYPE_CHECKING:
    from lorag.pipeline.evaluation.report.decision import DecisionCard


def show_decisions(cards: Sequence[DecisionCard], project: Path) -> None:
    """Each card, the first thing that a reader sees."""
    from lorag.pipeline.evaluation.report.decision import decision_lines

    for card in cards:
        for line in decision_lines(card):
            show(for_project(line, project))
