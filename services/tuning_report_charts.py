"""The drawings of the report of `lorag compare-tuning`, as inline SVG in the evaluation report's own colours and classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lorag.pipeline.evaluation.report.charts import Scale, svg, ticks
from lorag.pipeline.evaluation.report.markup import Markup, el, number, signed


@dataclass(frozen=True, slots=True)
class Point:
    """A variant in the plane of what was updated and what it brought; `kind` is `with` (an adapter) or `plain` (all weights)."""

    title: str
    parameters: int
    value: float
    low: float
    high: float
    kind: str


def quality_chart(metric: str, points: Sequence[Point], untuned: float) -> Markup:
    """Quality against updated parameters on a logarithmic axis, whiskers for the 95 % intervals, the untuned model a dashed line.

    Variants of as many parameters (LoRA and QLoRA of one rank) stand side by side.
    """
    first = math.floor(math.log10(min(point.parameters for point in points)))
    last = max(first + 1, math.ceil(math.log10(max(point.parameters for point in points))))
    ends = [untuned, *(end for point in points for end in (point.low, point.high))]
    low, high, step = ticks(min(ends), max(ends))
    high += step  # room for the titles
    x, y = Scale(first, last, 40, 360), Scale(low, high, 250, 16)
    marks: list[Markup] = []
    for place in range(round((high - low) / step) + 1):
        value = low + place * step
        marks.append(el("line", x1=40, x2=360, y1=y(value), y2=y(value), class_="grid"))
        marks.append(el("text", f"{value:.2f}", x=34, y=y(value) + 4, text_anchor="end", class_="tick"))
    for power in range(first, last + 1):
        marks.append(el("line", x1=x(power), x2=x(power), y1=16, y2=250, class_="grid"))
        marks.append(el("text", count(10**power), x=x(power), y=266, text_anchor="middle", class_="tick"))
    marks.append(el("text", "parameters updated", x=200, y=284, text_anchor="middle", class_="tick"))
    marks.append(el("line", x1=40, x2=360, y1=y(untuned), y2=y(untuned), class_="floor"))
    marks.append(el("text", "untuned", x=358, y=y(untuned) - 5, text_anchor="end", class_="tick"))
    taken: list[float] = []
    for point in points:
        at = x(math.log10(point.parameters))
        while any(abs(at - other) < 9 for other in taken):
            at += 9
        taken.append(at)
        marks.append(el("line", x1=at, x2=at, y1=y(point.low), y2=y(point.high), class_=f"whisker {point.kind}"))
        marks.append(el("circle", el("title", _said(point)), cx=at, cy=y(point.value), r=5, class_=f"dot {point.kind}"))
        top = f"rotate(-60 {at:.2f} {y(point.high) - 7:.2f})"
        marks.append(el("text", point.title, x=at, y=y(point.high) - 7, transform=top, class_="tick"))
    said = "; ".join(_said(point) for point in points)
    return svg(380, 292, f"{metric} by parameters updated; untuned {number(untuned)}; {said}", *marks, class_="plane")


def difference_chart(rows: Sequence[tuple[str, float, float, float, str]]) -> Markup:
    """A line a variant: title, difference, its 95 % interval, and `better`, `worse` or `unclear`; zero is a line through all."""
    ends = [0.0, *(end for _, _, first, last, _ in rows for end in (first, last))]
    low, high, step = ticks(min(ends), max(ends))
    at, bottom = Scale(low, high, 96, 358), 14 + 26 * len(rows)
    marks: list[Markup] = []
    for place in range(round((high - low) / step) + 1):
        value = low + place * step
        marks.append(el("line", x1=at(value), x2=at(value), y1=4, y2=bottom, class_="grid" if abs(value) > step / 2 else "zero"))
        marks.append(el("text", signed(value, 2), x=at(value), y=bottom + 14, text_anchor="middle", class_="tick"))
    for row, (title, value, first, last, kind) in enumerate(rows):
        y = 18 + 26 * row
        marks.append(el("text", title, x=84, y=y + 4, text_anchor="end", class_="label"))
        marks.append(el("line", x1=at(first), x2=at(last), y1=y, y2=y, class_=f"whisker {kind}"))
        marks.append(el("circle", cx=at(value), cy=y, r=4.5, class_=f"dot {kind}"))
    said = "; ".join(f"{title} {signed(value)}, {signed(first)} to {signed(last)}" for title, value, first, last, _ in rows)
    return svg(380, bottom + 20, f"difference from full fine-tuning: {said}", *marks, class_="dots")


def bar_chart(name: str, rows: Sequence[tuple[str, float, str]]) -> Markup:
    """A bar a variant from zero: title, value, and the value as people read it."""
    most = max((value for _, value, _ in rows), default=0.0) or 1.0
    at = Scale(0, most, 92, 258)
    marks: list[Markup] = []
    for row, (title, value, text) in enumerate(rows):
        y = 16 + 24 * row
        marks.append(el("text", title, x=84, y=y + 4, text_anchor="end", class_="label"))
        marks.append(el("rect", x=92, y=y - 8, width=max(1.0, at(value) - 92), height=16, rx=2, class_="bar right"))
        marks.append(el("text", text, x=at(value) + 6, y=y + 4, class_="label count"))
    said = "; ".join(f"{title} {text}" for title, _, text in rows)
    return svg(340, 8 + 24 * len(rows), f"{name}: {said}", *marks, class_="dots")


def count(value: float) -> str:
    """`100k`, `10M`, `1B`."""
    for unit, factor in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def _said(point: Point) -> str:
    return f"{point.title} {number(point.value)} ({number(point.low)} to {number(point.high)})"
