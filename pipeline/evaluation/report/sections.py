"""The report's sections other than the question browser: records in, HTML out."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.evaluation.error_analysis import DEFINITIONS, Loss
from lorag.pipeline.evaluation.groups import MIN_GROUPS
from lorag.pipeline.evaluation.report.charts import (
    difference_extent,
    dot_plot,
    forest_axis,
    forest_strip,
    waterfall_chart,
)
from lorag.pipeline.evaluation.report.grid import Size, figure_cell, floor_cell, head_row, said_size, shared_sizes
from lorag.pipeline.evaluation.report.markup import EN_DASH, Markup, el, join, number, signed
from lorag.pipeline.evaluation.report.records import (
    Ablation,
    AblationRow,
    Comparison,
    Floor,
    LossTable,
    Report,
)

VERDICTS = {"better": "better", "worse": "worse", "unclear": "no clear difference"}


def section(anchor: str, title: str, *body: Markup | None, lead: str = "") -> Markup:
    """A titled section."""
    return el("section", el("h2", title), el("p", lead, class_="lead") if lead else None, body, id=anchor)


def headline(report: Report) -> Markup:
    """The table of comparisons, a forest plot in its last column."""
    extent = difference_extent([(each.low, each.difference, each.high) for each in report.comparisons])
    starters = any(each.starter is not None for each in report.comparisons)
    beside = ("Starter",) if starters else ()
    head = ("Role", "Metric", "Base", *beside, "Tuned", "Difference", "Interval", "Items, groups", forest_axis(extent))
    rows = [_comparison(each, extent, each.metric in report.lower_is_better, starters) for each in report.comparisons]
    return section(
        "headline",
        "What each adapter bought",
        el(
            "table",
            el(
                "thead",
                el("tr", (el("th", name, scope="col", role="columnheader") for name in head), role="row"),
                role="rowgroup",
            ),
            el("tbody", rows, role="rowgroup"),
            class_="headline",
            role="table",
        ),
        lead="The same test items with and without the adapter. The bar is the interval of the paired difference: that of the "
        "adapter's card at the level of its look, and for the chain at the level of its corrected test (Holm). A difference is "
        "shown exactly if the bar is clear of the line at zero. Fewer than 8 groups of items show nothing."
        + (" Between base and tuned stands the bundled generic adapter, before any training on the domain." if starters else ""),
    )


def ablation_table(ablation: Ablation, runs: Ablation, floors: Sequence[Floor], lower_is_better: Sequence[str]) -> Markup:
    """Configurations by metrics, intervals under the figures, floors in the last row, a dot plot a metric, and all `runs`."""
    lowest = {floor.metric: floor for floor in floors}
    shared = shared_sizes(ablation.rows)
    rows = [
        el(
            "tr",
            el("th", row.configuration, scope="row"),
            (figure_cell(row.cells.get(name), shared.get(name)) for name in ablation.metrics),
        )
        for row in ablation.rows
    ]
    if floors:
        rows.append(
            el(
                "tr",
                el("th", "best floor, no training", scope="row"),
                (floor_cell(lowest.get(name), shared.get(name)) for name in ablation.metrics),
                class_="floors",
            )
        )
    plots = [
        el(
            "figure",
            el("figcaption", el("strong", name), _caption(lowest.get(name), name in lower_is_better, shared.get(name))),
            dot_plot(name, {row.configuration: row.cells[name] for row in distinct(ablation, name)}, lowest.get(name)),
        )
        for name in ablation.metrics
    ]
    return section(
        "ablation",
        "Each adapter alone, and all together",
        scrolling(
            el("table", el("thead", head_row("Configuration", ablation.metrics, shared)), el("tbody", rows), class_="grid-table"),
            "Ablation table",
        ),
        el("div", plots, class_="figures"),
        _all_runs(runs) if len(runs.rows) > len(ablation.rows) else None,
        lead="Figures with their 95 % intervals over the groups of test items. Items and groups stand under each metric, and in "
        "a cell if its own are others. The floor is the best system without any training.",
    )


def distinct(ablation: Ablation, metric: str) -> list[AblationRow]:
    """The rows that can differ in a metric: the first of each set of rows with the same relevant adapters on."""
    touching = ablation.touched_by.get(metric)
    rows: dict[object, AblationRow] = {}
    for row in ablation.rows:
        if metric in row.cells:
            rows.setdefault(row.configuration if touching is None else frozenset(row.on) & set(touching), row)
    return list(rows.values())


def _all_runs(runs: Ablation) -> Markup:
    """Every combination of adapters. A figure is pale if it repeats an earlier one because no adapter between them affects it."""
    roles = list(dict.fromkeys(role for row in runs.rows for role in row.on))
    first = {metric: {id(row) for row in distinct(runs, metric)} for metric in runs.metrics}
    shared = shared_sizes(runs.rows)
    body = [
        el(
            "tr",
            el("th", _switches(row, roles), scope="row"),
            (figure_cell(row.cells.get(name), shared.get(name), id(row) not in first[name]) for name in runs.metrics),
        )
        for row in runs.rows
    ]
    key = ", ".join(f"{role[0].upper()} {role}" for role in roles)
    return el(
        "details",
        el("summary", f"All {len(runs.rows)} combinations of adapters"),
        scrolling(
            el("table", el("thead", head_row("Adapters on", runs.metrics, shared)), el("tbody", body), class_="grid-table"),
            "All combinations",
        ),
        el("p", f"{key}. A pale figure repeats one above it, since the adapters that differ cannot change it.", class_="note"),
        class_="more",
    )


def _switches(row: AblationRow, roles: Sequence[str]) -> Markup:
    marks = [el("span", role[0].upper(), class_="on" if role in row.on else "off", aria_hidden="true") for role in roles]
    return el("span", marks, role="img", aria_label=row.configuration, title=row.configuration, class_="switches")


def losses(tables: Sequence[LossTable], sides: Sequence[str]) -> Markup:
    """Where questions are lost, both systems side by side, and what each loss means."""
    figures = [
        el(
            "figure",
            el("figcaption", el("strong", side), el("small", f" {table.name}, n = {sum(counts.values())}")),
            waterfall_chart(table, counts, f"{side}, {table.name}"),
        )
        for table in tables
        for side, counts in zip(sides, (table.base, table.tuned), strict=True)
    ]
    met = [loss for loss in Loss if any(table.base.get(loss) or table.tuned.get(loss) for table in tables)]
    meanings = el("dl", ((el("dt", loss.value), el("dd", DEFINITIONS[loss])) for loss in met), class_="meanings")
    return section(
        "losses",
        "Where questions are lost",
        el("div", figures, class_="figures wide"),
        el("details", el("summary", "What exactly each of these means"), meanings, class_="more"),
        lead="Each question counts once, at the first stage after which the right answer could not come.",
    )


def scrolling(table: Markup, name: str) -> Markup:
    """A wide table in a region that scrolls by itself, also by keyboard."""
    return el("div", table, class_="scroll", tabindex="0", role="region", aria_label=name)


def verdict_kind(low: float, high: float, lower_is_better: bool) -> str:
    """`better`, `worse` or `unclear`, by whether the interval of the difference excludes zero and on which side."""
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) != lower_is_better else "worse"


def interval_cell(low: float, high: float, level: float) -> Markup:
    """An interval with its level, which the correction for other tests sets."""
    return join(f"{signed(low)} to {signed(high)}", el("small", f"{100 * level:.4g} %"))


def _comparison(each: Comparison, extent: tuple[float, float], lower_is_better: bool, starters: bool) -> Markup:
    kind = verdict_kind(each.low, each.high, lower_is_better) if each.shown else "unclear"
    said = VERDICTS[kind] if each.groups >= MIN_GROUPS else "too few groups"
    cells = [
        ("Metric", join(each.metric, el("small", " lower is better") if lower_is_better else None), ""),
        ("Base", join(number(each.base)), "figure"),
        *([("Starter", join("" if each.starter is None else number(each.starter)), "figure")] if starters else []),
        ("Tuned", el("strong", number(each.tuned)), "figure"),
        ("Difference", el("span", signed(each.difference), class_=f"delta {kind}"), "figure"),
        ("Interval", interval_cell(each.low, each.high, each.level), "figure"),
        ("Items, groups", join(f"{each.n}, {each.groups or EN_DASH}"), "figure"),
        ("", join(forest_strip(each.difference, each.low, each.high, extent, kind), el("small", said)), "plot"),
    ]
    return el(
        "tr",
        el("th", each.role, scope="row", role="rowheader"),
        (el("td", body, role="cell", data_label=label or None, class_=kind_ or None) for label, body, kind_ in cells),
        role="row",
    )


def _caption(floor: Floor | None, lower_is_better: bool, size: Size | None) -> Markup:
    said = ["lower is better"] if lower_is_better else []
    said += [said_size(size)] if size else []
    said += [f"floor {number(floor.value)}: {floor.name}"] if floor else []
    return el("small", f" {'; '.join(said)}") if said else Markup()
