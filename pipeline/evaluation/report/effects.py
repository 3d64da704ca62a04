"""The forest plot of effects: their intervals and tests, and the smallest effects that these questions can show."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.evaluation.groups import MIN_GROUPS
from lorag.pipeline.evaluation.report.charts import difference_extent, forest_axis, forest_strip
from lorag.pipeline.evaluation.report.markup import EN_DASH, Markup, el, join, number, signed
from lorag.pipeline.evaluation.report.records import EffectRow, Report
from lorag.pipeline.evaluation.report.sections import interval_cell, section, verdict_kind

_COLUMNS = ("", "", "Difference", "Interval", "p, corrected", "Size d", "Items", "Shows from")

_FACTORIAL = (
    "The effect of an adapter is what turning it on changes, averaged over all settings of the others; a\N{NO-BREAK SPACE}×"
    "\N{NO-BREAK SPACE}b is how much more a changes while b is on. The bar is the paired interval at the level of the corrected "
    "test, over groups of one document or conversation; each metric has a scale of its own."
)
_TWO_RUNS = (
    "The second run minus the first, item by item. The bar is the paired interval at the level of the corrected test, over "
    "groups of one document or conversation; each metric has a scale of its own."
)
_HOW_TO_READ = (
    "p is of the paired sign-flip test over groups, corrected by Holm's method over {family}, the folded ones too. Each "
    "interval inverts this test at the level that the correction asks of it, so it excludes zero exactly if the corrected test "
    "rejects: that is what is coloured, from 8 groups on. Size d is the difference over its standard error and √n. Items: how "
    "many rose and fell. “Shows from” is the smallest true difference that this very test shows with 80 % power at its strictest "
    "corrected level, simulated with these groups, their sizes and spread; below it, the power for {worth} and how many such "
    "items that takes. They are too hopeful where few items changed. What is not shown is not shown to be nothing."
)


def effects(report: Report) -> Markup:
    """All effects by metric, those of the headline's metrics open and the others folded."""
    rows, worth = report.effects, report.worth
    first = {each.metric for each in report.comparisons}
    names = ("Means" if report.of_two_runs else "Effect", *_COLUMNS[1:])
    metrics = list(dict.fromkeys(row.metric for row in rows))
    open_ = [metric for metric in metrics if metric in first] or metrics
    folded = [metric for metric in metrics if metric not in open_]

    def table(shown: Sequence[str]) -> Markup:
        groups = ([row for row in rows if row.metric == metric] for metric in shown)
        return el(
            "table",
            el(
                "thead",
                el("tr", (el("th", name, scope="col", role="columnheader") for name in names), role="row"),
                role="rowgroup",
            ),
            (_group(group, group[0].metric in report.lower_is_better, worth) for group in groups),
            class_="headline effects",
            role="table",
        )

    return section(
        "effects",
        "The difference, metric by metric" if report.of_two_runs else "What is more than noise",
        table(open_),
        el("details", el("summary", f"{len(folded)} more metrics"), table(folded), class_="more") if folded else None,
        el("p", _HOW_TO_READ.format(family=_family(rows), worth=f"{worth:g}"), class_="note"),
        lead=_TWO_RUNS if report.of_two_runs else _FACTORIAL,
    )


def _family(rows: Sequence[EffectRow]) -> str:
    first = sum(row.primary for row in rows)
    if not first:
        return f"all {len(rows)} differences"
    others = len(rows) - first
    return f"the {first} questions asked first (each adapter on its own metric), and apart from them over the {others} others"


def _group(rows: Sequence[EffectRow], lower: bool, worth: float) -> Markup:
    first, extent = rows[0], difference_extent([(row.low, row.value, row.high) for row in rows])
    said = f"{first.n} items in {first.groups} groups" + (", lower is better" if lower else "")
    title = [
        el("th", first.metric, scope="rowgroup", role="rowheader"),
        el("td", forest_axis(extent), class_="plot", role="cell"),
        el("td", el("small", said), colspan=len(_COLUMNS) - 2, role="cell"),
    ]
    return el(
        "tbody", el("tr", title, class_="group", role="row"), (_row(row, extent, lower, worth) for row in rows), role="rowgroup"
    )


def _row(row: EffectRow, extent: tuple[float, float], lower: bool, worth: float) -> Markup:
    kind = verdict_kind(row.low, row.high, lower) if row.shown else "unclear"
    said = _verdict(row, kind)
    cells = [
        ("", join(forest_strip(row.value, row.low, row.high, extent, kind), el("small", said)), "plot"),
        ("Difference", el("span", signed(row.value), class_=f"delta {kind}"), "figure"),
        ("Interval", interval_cell(row.low, row.high, row.level), "figure"),
        ("p, corrected", join(probability(row.adjusted), el("small", _alone(row))), "figure"),
        ("Size d", join(EN_DASH if row.standardised is None else signed(row.standardised, 2)), "figure"),
        ("Items", join(f"{row.rose} up, {row.fell} down"), "figure"),
        ("Shows from", _shows_from(row, worth), "figure"),
    ]
    return el(
        "tr",
        el("th", row.name, el("small", " asked first") if row.primary else None, scope="row", role="rowheader"),
        (el("td", body, role="cell", data_label=label or None, class_=class_) for label, body, class_ in cells),
        role="row",
    )


def _alone(row: EffectRow) -> str:
    """The p before correction, and the smallest that so many groups can give if that is not small."""
    alone = f"alone {probability(row.p)}"
    return f"{alone}, {row.groups} groups give {probability(row.least_p)} at least" if row.least_p > 0.001 else alone


def _verdict(row: EffectRow, kind: str) -> str:
    if row.groups < MIN_GROUPS:
        return "too few groups"
    if not row.shown:
        return "no item changed" if not row.rose and not row.fell else "not shown"
    if row.interaction:
        return "they help each other" if kind == "better" else "they overlap"
    return kind


def _shows_from(row: EffectRow, worth: float) -> Markup:
    if row.power is None:
        return join("cannot be told")
    items = "" if row.needed is None else f"{row.needed:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    needed = f", takes {items}" if items else ""
    small = el("small", f"{worth:g}: power {100 * row.power:.0f} %{needed}")
    return join("nothing" if row.detectable is None else number(row.detectable), small)


def probability(p: float) -> str:
    """A p value as text: `<0.001`, `0.004`, `0.32`."""
    if p < 0.001:
        return "<0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
