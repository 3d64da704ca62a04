"""The stored simulation of `benchmarks.coverage` as tables: coverage and false promotions by kind and number of groups.

A cell misses its target if it does so by more than two standard errors of its number of test sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

COVERED, PROMOTED = 0.93, 0.03
"""The least coverage of an interval at 95 %, and the most false promotions at a nominal 2.5 %."""

NAMES = {
    "rate": "rates (Wilson's)",
    "mean": "figures from 0 to 1 (Wilson's)",
    "other figure": "other figures (Student's)",
    "macro-F1": "macro-F1 (Wilson's)",
    "difference": "paired differences (sign flips)",
    "macro-F1 difference": "paired differences of macro-F1 (sign flips)",
    "other shape": "paired differences, other shape",
}

Row = Mapping[str, Any]


def coverage_rows(found: Row) -> tuple[list[str], list[list[str]]]:
    """Head and rows: mean coverage in percent by number of groups, the lowest in brackets, and what misses."""
    kinds = [kind for kind in NAMES if any(row["kind"] == kind for row in found["summary"])]
    return _rows(found, kinds, "coverage", "lowest", "below 93 %", _is_uncovered)


def promotion_rows(found: Row) -> tuple[list[str], list[list[str]]]:
    """Head and rows: mean false promotions in percent by number of groups, the highest in brackets, and what misses."""
    kinds = [kind for kind in NAMES if any(row["kind"] == kind and row["promoted"] is not None for row in found["summary"])]
    return _rows(found, kinds, "promoted", "highest", "above 3 %", _is_overpromoted)


def _rows(
    found: Row, kinds: Iterable[str], mean: str, extreme: str, misses: str, is_missed: Callable[[Row], bool]
) -> tuple[list[str], list[list[str]]]:
    groups = list(dict.fromkeys(row["groups"] for row in found["summary"]))
    figures = {
        (row["kind"], row["groups"]): f"{100 * row[mean]:.1f} ({100 * row[extreme]:.1f})"
        for row in found["summary"]
        if row[mean] is not None
    }
    rows = []
    for kind in kinds:
        missed = [cell for cell in found["cells"] if cell["kind"] == kind and is_missed(cell)]
        rows.append([NAMES[kind], *(figures[kind, count] for count in groups), _missed(missed)])
    return ["groups:", *map(str, groups), misses], rows


def _missed(cells: Sequence[Row]) -> str:
    """The distributions that miss, each with its numbers of groups; `*` if groups are skewed."""
    by_values: dict[str, dict[int, str]] = {}
    for cell in cells:
        star = "*" if cell["sizes"] == "skewed" else ""
        known = by_values.setdefault(cell["values"], {})
        known[cell["groups"]] = star if cell["groups"] not in known else ""
    return "; ".join(f"{values}: {', '.join(f'{n}{star}' for n, star in at.items())}" for values, at in by_values.items())


def _is_uncovered(cell: Row) -> bool:
    margin = 2 * math.sqrt(COVERED * (1 - COVERED) / cell["replicates"])
    return bool(cell["held"] / cell["replicates"] < COVERED - margin)


def _is_overpromoted(cell: Row) -> bool:
    margin = 2 * math.sqrt(PROMOTED * (1 - PROMOTED) / cell["replicates"])
    return bool(cell["promoted"] / cell["replicates"] > PROMOTED + margin)
