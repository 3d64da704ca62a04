"""The tables of docs/evidence/closed-loop.md, from what `python -m benchmarks.closed_loop --out` stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HEAD = ("training rows", "rows", "mean", "against the floor", "share of the human gain")


def arm_rows(found: Mapping[str, Any], measure: str) -> Iterator[Sequence[str]]:
    """A line for each arm of a role's `measure`, such as “nDCG@10, vectors alone”."""
    of = found[measure]
    for arm, mean in of["arms"].items():
        apart, share = of["differences"].get(arm), of["share of the human gain"].get(arm)
        yield (
            arm,
            f"{of['rows'][arm]:,}",
            _span(mean, "{:.3f}"),
            _span(apart, "{:+.3f}") if apart else "",
            _span(share, "{:.0%}") if share else "",
        )


def _span(figure: Mapping[str, Any], form: str) -> str:
    """A value with its interval; a share without one if the human gain itself is not shown."""
    if figure["value"] is None or figure["low"] is None:
        return "human gain not shown"
    low, value, high = (form.format(figure[key]) for key in ("low", "value", "high"))
    return f"{value} ({low} to {high})"
