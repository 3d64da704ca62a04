"""The report's drawings as inline SVG: forest strips, dot plots, waterfalls, reliability plots and loss curves.

Colours and fonts are the page's, by class; every drawing has its figures as text for screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.evaluation.error_analysis import Loss
from lorag.pipeline.evaluation.report.markup import Markup, el, number, signed
from lorag.pipeline.evaluation.report.records import Calibration, Cell, Floor, LossCurve, LossTable
from lorag.pipeline.evaluation.risk_coverage import RiskCoverage


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map of values low … high onto pixels left … right."""

    low: float
    high: float
    left: float
    right: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.left + (value - self.low) / span * (self.right - self.left)


WIDE = 12
"""How many times as wide as the narrowest an interval may be and still stretch the axis of a forest plot."""


def forest_strip(value: float, low: float, high: float, extent: tuple[float, float], kind: str) -> Markup:
    """One line of a forest plot: zero, the interval and the difference. `extent` is shared by all lines; `kind` a class.

    An interval that leaves the extent is cut off there, without an end.
    """
    at, (first, last) = Scale(*extent, 8, 232), extent
    ends = [end for end in (low, high) if first <= end <= last]
    return svg(
        240,
        26,
        f"difference {signed(value)}, interval {signed(low)} to {signed(high)}",
        *(el("line", x1=at(tick), x2=at(tick), y1=0, y2=26, class_="grid") for tick in _between(*extent) if tick),
        el("line", x1=at(0), x2=at(0), y1=0, y2=26, class_="zero"),
        el("line", x1=at(max(low, first)), x2=at(min(high, last)), y1=13, y2=13, class_=f"whisker {kind}"),
        *(el("line", x1=at(end), x2=at(end), y1=8, y2=18, class_=f"whisker {kind}") for end in ends),
        el("circle", cx=at(value), cy=13, r=5, class_=f"dot {kind}"),
        class_="strip",
    )


def forest_axis(extent: tuple[float, float]) -> Markup:
    """The figures above a column of forest strips."""
    at = Scale(*extent, 8, 232)
    ticks = _between(*extent)
    digits = 1 if all(abs(tick * 10 - round(tick * 10)) < 1e-9 for tick in ticks) else 2
    marks = [
        el("text", signed(tick, digits) if tick else "0", x=at(tick), y=11, text_anchor="middle", class_="tick") for tick in ticks
    ]
    return svg(240, 14, "axis of the differences", *marks, class_="strip axis")


def difference_extent(differences: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """The range of a shared axis, from the low, value and high of each difference: zero and all of these, with a margin.

    Of an interval over `WIDE` times as wide as the narrowest the value alone counts: with too few groups to show anything it
    holds all possible values, and the others would be points beside it.
    """
    narrowest = min((high - low for low, _, high in differences if high > low), default=0.0)
    ends = [0.0]
    for low, value, high in differences:
        ends += [low, high] if high - low <= WIDE * narrowest else [value]
    low, high = min(ends), max(ends)
    air = 0.06 * (high - low or 1.0)
    return low - air, high + air


def dot_plot(metric: str, cells: Mapping[str, Cell], floor: Floor | None) -> Markup:
    """The configurations of an ablation under one metric, each a dot with its interval; the floor is a dashed line.

    The first configuration is drawn as the reference of the others.
    """
    ends = [end for cell in cells.values() for end in (cell.value, cell.low, cell.high) if end is not None]
    low, high, step = ticks(min([*ends, floor.value] if floor else ends), max([*ends, floor.value] if floor else ends))
    at, bottom = Scale(low, high, 126, 328), 14 + 24 * len(cells)
    marks: list[Markup] = []
    for place in range(round((high - low) / step) + 1):
        value = low + place * step
        marks.append(el("line", x1=at(value), x2=at(value), y1=4, y2=bottom, class_="grid"))
        marks.append(el("text", f"{value:.2f}", x=at(value), y=bottom + 14, text_anchor="middle", class_="tick"))
    if floor is not None:
        marks.append(el("line", x1=at(floor.value), x2=at(floor.value), y1=4, y2=bottom, class_="floor"))
    for row, (configuration, cell) in enumerate(cells.items()):
        y, kind = 18 + 24 * row, "plain" if row == 0 else "with"
        marks.append(el("text", configuration, x=118, y=y + 4, text_anchor="end", class_="label"))
        if cell.low is not None and cell.high is not None:
            marks.append(el("line", x1=at(cell.low), x2=at(cell.high), y1=y, y2=y, class_=f"whisker {kind}"))
        marks.append(el("circle", cx=at(cell.value), cy=y, r=4.5, class_=f"dot {kind}"))
    said = "; ".join(f"{name} {number(cell.value)}" for name, cell in cells.items())
    return svg(340, bottom + 20, f"{metric}: {said}", *marks, class_="dots")


def waterfall_chart(table: LossTable, counts: Mapping[str, int], name: str) -> Markup:
    """A waterfall from all questions to the right ones, with the losses of each stage; `counts` is one side of `table`.

    A loss gets a line if either side has it, so that both charts have the same lines.
    """
    total = sum(counts.values())
    at, y, left = Scale(0, total, 200, 354), 18, total
    marks = _bar("all questions", total, at(0), at(total), y, "all")
    shown = [loss for loss in Loss if loss is not Loss.RIGHT and (table.base.get(loss) or table.tuned.get(loss))]
    for loss in shown:
        y, count = y + 24, counts.get(loss, 0)
        marks.append(el("line", x1=at(left), x2=at(left), y1=y - 16, y2=y + 8, class_="grid"))
        marks += _bar(loss.value, count, at(left - count), at(left), y, "lost")
        left -= count
    marks.append(el("line", x1=at(left), x2=at(left), y1=y + 8, y2=y + 32, class_="grid"))
    marks += _bar(table.end, left, at(0), at(left), y + 24, "right")
    said = ", ".join(f"{loss.value} {counts.get(loss, 0)}" for loss in shown)
    said = ", ".join(part for part in (said, f"{table.end} {left}") if part)
    return svg(390, y + 40, f"{name}: of {total} questions {said}", *marks, class_="waterfall")


def reliability_chart(found: Calibration) -> Markup:
    """Accuracy by confidence, a dot per bin with an area by its number of judgments; on the diagonal both are equal."""
    x, y = Scale(0, 1, 44, 284), Scale(0, 1, 256, 16)
    marks: list[Markup] = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        marks.append(el("line", x1=x(0), x2=x(1), y1=y(tick), y2=y(tick), class_="grid"))
        marks.append(el("line", x1=x(tick), x2=x(tick), y1=y(0), y2=y(1), class_="grid"))
        marks.append(el("text", f"{tick:g}", x=x(0) - 6, y=y(tick) + 4, text_anchor="end", class_="tick"))
        marks.append(el("text", f"{tick:g}", x=x(tick), y=y(0) + 15, text_anchor="middle", class_="tick"))
    marks.append(el("text", "confidence", x=x(0.5), y=y(0) + 30, text_anchor="middle", class_="tick"))
    turned = f"rotate(-90 11 {y(0.5):g})"
    marks.append(el("text", "share right", x=11, y=y(0.5), text_anchor="middle", transform=turned, class_="tick"))
    marks.append(el("line", x1=x(0), x2=x(1), y1=y(0), y2=y(1), class_="floor"))
    most = max((each.n for each in found.bins), default=1)
    for each in found.bins:
        marks.append(
            el("line", x1=x(each.confidence), x2=x(each.confidence), y1=y(each.confidence), y2=y(each.accuracy), class_="gap")
        )
    for each in found.bins:
        radius = 3 + 9 * math.sqrt(each.n / most)
        said = f"{each.n} judgments, confidence {each.confidence:.2f}, right {each.accuracy:.2f}"
        marks.append(el("circle", el("title", said), cx=x(each.confidence), cy=y(each.accuracy), r=radius, class_="dot bubble"))
    said = "; ".join(f"{each.confidence:.2f} is right {each.accuracy:.2f} of {each.n}" for each in found.bins)
    return svg(300, 292, f"{found.name}, expected calibration error {number(found.ece)}: {said}", *marks, class_="reliability")


def risk_chart(found: RiskCoverage) -> Markup:
    """Risk by coverage, a step for each value of the confidence; the dashed line is the risk if everything is answered."""
    most = max(0.1, *(point.risk for point in found.points))
    _, high, step = ticks(0.0, most)
    x, y = Scale(0, 1, 44, 324), Scale(0, high, 156, 12)
    marks: list[Markup] = []
    for place in range(round(high / step) + 1):
        value = place * step
        marks.append(el("line", x1=x(0), x2=x(1), y1=y(value), y2=y(value), class_="grid"))
        marks.append(el("text", f"{value:.2g}", x=x(0) - 6, y=y(value) + 4, text_anchor="end", class_="tick"))
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        marks.append(el("text", f"{tick:g}", x=x(tick), y=y(0) + 15, text_anchor="middle", class_="tick"))
    marks.append(el("text", "coverage", x=x(0.5), y=y(0) + 30, text_anchor="middle", class_="tick"))
    turned = f"rotate(-90 11 {y(high / 2):g})"
    marks.append(el("text", "risk", x=11, y=y(high / 2), text_anchor="middle", transform=turned, class_="tick"))
    marks.append(el("line", x1=x(0), x2=x(1), y1=y(found.risk), y2=y(found.risk), class_="floor"))
    points = " ".join(f"{x(point.coverage):.1f},{y(point.risk):.1f}" for point in found.points)
    marks.append(el("polyline", points=points, class_="curve"))
    last = found.points[-1]
    marks.append(el("circle", cx=x(last.coverage), cy=y(last.risk), r=4, class_="dot with"))
    quarters = [found.points[round(share * (len(found.points) - 1))] for share in (0, 0.25, 0.5, 0.75, 1)]
    said = "; ".join(f"coverage {point.coverage:.2f} has risk {point.risk:.2f}" for point in quarters)
    return svg(340, 192, f"{found.configuration}, by {found.confidence}: {said}", *marks, class_="risk")


def loss_chart(curve: LossCurve) -> Markup:
    """Training loss by step."""
    steps, losses = [step for step, _ in curve.points], [loss for _, loss in curve.points]
    low, high, step = ticks(min(0.0, *losses), max(losses))
    x, y = Scale(min(steps), max(steps), 40, 330), Scale(low, high, 124, 10)
    marks: list[Markup] = []
    for place in range(round((high - low) / step) + 1):
        value = low + place * step
        marks.append(el("line", x1=40, x2=330, y1=y(value), y2=y(value), class_="grid"))
        marks.append(el("text", f"{value:g}", x=34, y=y(value) + 4, text_anchor="end", class_="tick"))
    marks.append(el("text", f"step {steps[0]}", x=40, y=142, class_="tick"))
    marks.append(el("text", f"step {steps[-1]}", x=330, y=142, text_anchor="end", class_="tick"))
    points = " ".join(f"{x(at):.1f},{y(loss):.1f}" for at, loss in curve.points)
    marks.append(el("polyline", points=points, class_="curve"))
    said = f"{curve.name}: loss {losses[0]:.3f} at step {steps[0]}, {losses[-1]:.3f} at step {steps[-1]}"
    return svg(340, 150, said, *marks, class_="loss")


def _bar(label: str, count: int, left: float, right: float, y: float, kind: str) -> list[Markup]:
    return [
        el("text", label, x=192, y=y + 4, text_anchor="end", class_="label"),
        *([el("rect", x=left, y=y - 8, width=right - left, height=16, rx=2, class_=f"bar {kind}")] if count else []),
        el("text", str(count), x=right + 6, y=y + 4, class_="label count"),
    ]


def ticks(low: float, high: float) -> tuple[float, float, float]:
    """Round ends and a round step (1, 2 or 5 times a power of ten) for three to six ticks that include low … high."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span / 4)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step


def _between(low: float, high: float) -> list[float]:
    """Round values inside low … high, including zero if it is there."""
    first, last, step = ticks(low, high)
    values = [round(first + at * step, 10) for at in range(round((last - first) / step) + 1)]
    return [value for value in values if low <= value <= high]


def svg(width: float, height: float, said: str, *marks: Markup, class_: str) -> Markup:
    return el(
        "svg", *marks, viewBox=f"0 0 {width:g} {height:g}", width=width, height=height, role="img", aria_label=said, class_=class_
    )
