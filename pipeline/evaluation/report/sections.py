"""The report's sections other than the question browser: records in, HTML out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.losses import waterfall
from pipeline.evaluation.report.charts import difference_extent, dot_plot, forest_strip, loss_chart, waterfall_chart
from pipeline.evaluation.report.markup import EN_DASH, Markup, duration, el, join, number, signed
from pipeline.evaluation.report.records import (
    Ablation,
    Cell,
    Comparison,
    Floor,
    LossCurve,
    OutcomeCount,
    Provenance,
    QuestionView,
    Report,
)

VERDICTS = {"better": "better", "worse": "worse", "unclear": "no clear difference"}


def section(anchor: str, title: str, *body: Markup | None, lead: str = "") -> Markup:
    """A titled section."""
    return el("section", el("h2", title), el("p", lead, class_="lead") if lead else None, body, id=anchor)


def headline(comparisons: Sequence[Comparison], lower_is_better: Sequence[str]) -> Markup:
    """The table of what each adapter bought, a forest plot in its last column."""
    extent = difference_extent([(each.low, each.high) for each in comparisons])
    head = ("Role", "Metric", "Base", "Tuned", "Difference", "95 % interval", "n", "")
    rows = [_comparison(each, extent, each.metric in lower_is_better) for each in comparisons]
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
        lead="Same test items with and without the adapter. The bar is the 95 % interval of the paired difference; "
        "where it does not touch the line at zero, the difference is more than noise.",
    )


def ablation_table(ablation: Ablation, floors: Sequence[Floor], lower_is_better: Sequence[str]) -> Markup:
    """Configurations by metrics, intervals under the figures, floors in the last row, and a dot plot a metric."""
    lowest = {floor.metric: floor for floor in floors}
    head = el(
        "tr", el("th", "Configuration", scope="col"), (el("th", name, scope="col", class_="figure") for name in ablation.metrics)
    )
    rows = [
        el("tr", el("th", row.configuration, scope="row"), (_cell(row.cells.get(name)) for name in ablation.metrics))
        for row in ablation.rows
    ]
    if floors:
        rows.append(
            el(
                "tr",
                el("th", "floor, no model", scope="row"),
                (_floor(lowest.get(name)) for name in ablation.metrics),
                class_="floors",
            )
        )
    plots = [
        el(
            "figure",
            el("figcaption", el("strong", name), _caption(lowest.get(name), name in lower_is_better)),
            dot_plot(name, {row.configuration: row.cells[name] for row in ablation.rows if name in row.cells}, lowest.get(name)),
        )
        for name in ablation.metrics
    ]
    return section(
        "ablation",
        "Each adapter alone, and all together",
        scrolling(el("table", el("thead", head), el("tbody", rows), class_="grid-table"), "Ablation table"),
        el("div", plots, class_="figures"),
        lead="Figures with their 95 % intervals over the test items. The floor is what the metric gives with no model at all.",
    )


def losses(questions: Sequence[QuestionView]) -> Markup:
    """Where questions are lost, base and tuned side by side; only those whose loss was analysed in both."""
    both = [(each.base.lost_at, each.tuned.lost_at) for each in questions if each.base.lost_at and each.tuned.lost_at]
    base, tuned = waterfall(before for before, _ in both if before), waterfall(after for _, after in both if after)
    shown = {loss for loss in base if base[loss] or tuned[loss]}
    figures = [
        el("figure", el("figcaption", el("strong", name)), waterfall_chart(counts, shown, name))
        for name, counts in (("Base chain", base), ("All adapters", tuned))
    ]
    return section(
        "losses",
        "Where questions are lost",
        el("div", figures, class_="figures wide"),
        lead="Each question counts at the first stage after which the right answer could not come.",
    )


def training(curves: Sequence[LossCurve]) -> Markup:
    """A small loss curve for each training run."""
    figures = [
        el("figure", el("figcaption", el("strong", curve.name), f" ends at {curve.points[-1][1]:.3f}"), loss_chart(curve))
        for curve in curves
        if curve.points
    ]
    return section("training", "Training loss", el("div", figures, class_="figures"))


def outcomes(counts: Sequence[OutcomeCount]) -> Markup:
    """How many items were unparsed or failed, so that none hides in a mean."""
    head = [el("th", name, scope="col") for name in ("Configuration", "Stage")]
    head += [el("th", name, scope="col", class_="figure") for name in ("ok", "unparsed", "failed")]
    rows = [
        el(
            "tr",
            el("th", each.configuration, scope="row"),
            el("td", each.stage),
            (el("td", str(count), class_="figure") for count in (each.ok, each.unparsed, each.failed)),
        )
        for each in counts
    ]
    return section(
        "outcomes",
        "Unparsed and failed",
        scrolling(el("table", el("thead", el("tr", head)), el("tbody", rows)), "Outcomes"),
        lead="An unparsed answer is scored on its raw text. A failed item has no score; it is counted here instead.",
    )


def provenance(found: Provenance) -> Markup:
    """What is needed to make the figures again."""
    parts: list[tuple[str, Mapping[str, Any]]] = [
        ("Machine", found.machine),
        ("Versions", found.versions),
        ("Seeds", found.seeds),
        ("Digests", found.digests),
        ("Configuration", _flat(found.config)),
        ("Time by stage", {stage: duration(seconds) for stage, seconds in found.seconds.items()}),
    ]
    blocks = [
        el("div", el("h3", name), el("dl", ((el("dt", key), el("dd", str(value))) for key, value in values.items())))
        for name, values in parts
        if values
    ]
    return section("provenance", "Where this comes from", el("div", blocks, class_="facts"), lead=found.created)


def notes(texts: Sequence[str]) -> Markup:
    """Remarks by whoever made the report."""
    return section("notes", "Notes", el("ul", (el("li", text) for text in texts)))


def analysed(report: Report) -> bool:
    """Whether some question's loss is known on both sides."""
    return any(each.base.lost_at and each.tuned.lost_at for each in report.questions)


def scrolling(table: Markup, name: str) -> Markup:
    """A wide table in a region that scrolls by itself, also by keyboard."""
    return el("div", table, class_="scroll", tabindex="0", role="region", aria_label=name)


def verdict_kind(low: float, high: float, lower_is_better: bool) -> str:
    """`better`, `worse` or `unclear`, by whether the interval of the difference excludes zero and on which side."""
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) != lower_is_better else "worse"


def _comparison(each: Comparison, extent: tuple[float, float], lower_is_better: bool) -> Markup:
    kind = verdict_kind(each.low, each.high, lower_is_better)
    cells = [
        ("Metric", join(each.metric, el("small", " lower is better") if lower_is_better else None), ""),
        ("Base", join(number(each.base)), "figure"),
        ("Tuned", el("strong", number(each.tuned)), "figure"),
        ("Difference", el("span", signed(each.difference), class_=f"delta {kind}"), "figure"),
        ("95 % interval", join(f"{signed(each.low)} to {signed(each.high)}"), "figure"),
        ("n", join(str(each.n)), "figure"),
        ("", join(forest_strip(each.difference, each.low, each.high, extent, kind), el("small", VERDICTS[kind])), "plot"),
    ]
    return el(
        "tr",
        el("th", each.role, scope="row", role="rowheader"),
        (el("td", body, role="cell", data_label=label or None, class_=kind_ or None) for label, body, kind_ in cells),
        role="row",
    )


def _cell(cell: Cell | None) -> Markup:
    if cell is None:
        return el("td", el("span", "n/a", class_="absent"), class_="figure")
    span = f"{number(cell.low)}{EN_DASH}{number(cell.high)}" if cell.low is not None and cell.high is not None else "too few"
    return el("td", el("strong", number(cell.value)), el("small", span), class_="figure", title=f"{cell.n} items")


def _floor(floor: Floor | None) -> Markup:
    if floor is None:
        return el("td", "", class_="figure")
    return el("td", number(floor.value), el("small", floor.name), class_="figure")


def _caption(floor: Floor | None, lower_is_better: bool) -> Markup:
    return join(
        el("small", " lower is better") if lower_is_better else None,
        el("small", f" floor {number(floor.value)}: {floor.name}") if floor else None,
    )


def _flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat
