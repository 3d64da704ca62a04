"""The report's section on floors: each adapter and the chain against the best system without training, metric by metric."""

from __future__ import annotations

from lorag.pipeline.evaluation.report.charts import difference_extent, forest_axis, forest_strip
from lorag.pipeline.evaluation.report.grid import figure_cell, head_row, shared_sizes
from lorag.pipeline.evaluation.report.markup import EN_DASH, Markup, el, join, number, signed
from lorag.pipeline.evaluation.report.records import Ablation, FloorComparison, Report
from lorag.pipeline.evaluation.report.sections import interval_cell, scrolling, section, verdict_kind

_COLUMNS = ("Role", "Metric", "Best floor", "Floor", "Tuned", "Difference", "Interval", "Items, groups")


def floors(report: Report) -> Markup:
    """The comparisons with the best floor, those that the floor wins first, then every floor and the metrics without one."""
    extent = difference_extent([(each.low, each.difference, each.high) for each in report.against_floors])
    ordered = sorted(report.against_floors, key=lambda each: each.beaten)
    head = [el("th", name, scope="col", role="columnheader") for name in (*_COLUMNS, forest_axis(extent))]
    rows = [_row(each, extent, each.metric in report.lower_is_better) for each in ordered]
    trained = [each.beaten for each in ordered if not each.of_starter]
    won = trained.count(False)
    verdict = (
        f"A floor wins {won} of {len(trained)} comparisons: there the training is not shown to have bought anything. "
        if won
        else ""
    )
    return section(
        "floors",
        "Against systems without training",
        el(
            "table",
            el("thead", el("tr", head, role="row"), role="rowgroup"),
            el("tbody", rows, role="rowgroup"),
            class_="headline against",
            role="table",
        ),
        _folded(report.floor_systems, "systems without training") if report.floor_systems.rows else None,
        _folded(report.diagnostics, "systems that show where answers are lost") if report.diagnostics.rows else None,
        _without(report) if report.without_floor else None,
        lead=verdict + "The best floor of a metric is the one with the best mean on these very items, which favours the floor.",
    )


def _row(each: FloorComparison, extent: tuple[float, float], lower_is_better: bool) -> Markup:
    kind = verdict_kind(each.low, each.high, lower_is_better) if each.shown else "unclear"
    cells = [
        ("Metric", join(each.metric, el("small", " lower is better") if lower_is_better else None), ""),
        ("Best floor", join(each.floor), ""),
        ("Floor", join(number(each.reference)), "figure"),
        ("Tuned", el("strong", number(each.tuned)), "figure"),
        ("Difference", el("span", signed(each.difference), class_=f"delta {kind}"), "figure"),
        ("Interval", interval_cell(each.low, each.high, each.level), "figure"),
        ("Items, groups", join(f"{each.n}, {each.groups}"), "figure"),
        (
            "",
            join(
                forest_strip(each.difference, each.low, each.high, extent, kind),
                el("small", "better" if each.beaten else "the floor wins"),
            ),
            "plot",
        ),
    ]
    return el(
        "tr",
        el("th", each.role, scope="row", role="rowheader"),
        (el("td", body, role="cell", data_label=label or None, class_=kind_ or None) for label, body, kind_ in cells),
        role="row",
    )


def _folded(systems: Ablation, what: str) -> Markup:
    shared = shared_sizes(systems.rows)
    rows = [
        el(
            "tr",
            el("th", row.configuration, scope="row"),
            (figure_cell(row.cells.get(name), shared.get(name)) for name in systems.metrics),
        )
        for row in systems.rows
    ]
    return el(
        "details",
        el("summary", f"All {len(systems.rows)} {what}"),
        scrolling(
            el("table", el("thead", head_row("System", systems.metrics, shared)), el("tbody", rows), class_="grid-table"), what
        ),
        class_="more",
    )


def _without(report: Report) -> Markup:
    reasons = "; ".join(f"{metric} {EN_DASH} {reason}" for metric, reason in report.without_floor.items())
    return el("p", f"Metrics without a floor: {reasons}.", class_="note")
