"""The forest plot of effects: their intervals and tests, and the smallest effects that these questions can show."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.evaluation.report.charts import difference_extent, forest_axis, forest_strip
from lorag.pipeline.evaluation.report.markup import EN_DASH, Markup, el, join, number, signed
from lorag.pipeline.evaluation.report.records import EffectRow, Report
from lorag.pipeline.evaluation.report.sections import section, verdict_kind

_COLUMNS = ("", "", "Difference", "95 % interval", "p, corrected", "Size d", "Items", "Shows from")

_FACTORIAL = (
    "The effect of an adapter is what turning it on changes, averaged over all settings of the others; a\N{NO-BREAK SPACE}×"
    "\N{NO-BREAK SPACE}b is how much more a changes while b is on. The bar is the paired 95 % interval, clustered by document or "
    "conversation; each metric has a scale of its own."
)
_TWO_RUNS = (
    "The second run minus the first, item by item. The bar is the paired 95 % interval, clustered by document or conversation; "
    "each metric has a scale of its own."
)
_HOW_TO_READ = (
    "p is of a paired permutation test, corrected by Holm's method over {family}, the folded ones too; coloured is what both the "
    "interval and the corrected test show. Size d is the difference over its standard error and √n. Items: how "
    "many rose and fell. “Shows from” is the smallest true difference that these items show with 80 % power before correction, "
    "as if nothing else were tested; with it, how many items it would take to show {worth}. Corrected, both are larger. They go "
    "by the spread seen here, and are too hopeful where few items changed. What is not shown is not shown to be nothing."
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
    first, extent = rows[0], difference_extent([(row.low, row.high) for row in rows])
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
        ("95 % interval", join(f"{signed(row.low)} to {signed(row.high)}"), "figure"),
        ("p, corrected", join(probability(row.adjusted), el("small", f"alone {probability(row.p)}")), "figure"),
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


def _verdict(row: EffectRow, kind: str) -> str:
    if not row.shown:
        return "no item changed" if not row.rose and not row.fell else "not shown"
    if row.interaction:
        return "they help each other" if kind == "better" else "they overlap"
    return kind


def _shows_from(row: EffectRow, worth: float) -> Markup:
    if row.detectable is None or row.needed is None:
        return join("cannot be told")
    return join(number(row.detectable), el("small", f"{worth:g} takes {row.needed:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")))


def probability(p: float) -> str:
    """A p value as text: `<0.001`, `0.004`, `0.32`."""
    if p < 0.001:
        return "<0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
