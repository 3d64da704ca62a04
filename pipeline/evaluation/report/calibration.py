"""The report's section on the judge's probabilities, task by task: good ones in one task say nothing of another."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.evaluation.report.charts import reliability_chart
from lorag.pipeline.evaluation.report.markup import Markup, el, number
from lorag.pipeline.evaluation.report.records import Calibration
from lorag.pipeline.evaluation.report.sections import scrolling, section

NO_BETTER = "no better than the labels' frequencies"


def calibration(found: Sequence[Calibration]) -> Markup:
    """A row for each task and system; the reliability plots are folded."""
    head = [el("th", name, scope="col") for name in ("Task", "System")]
    names = ("Items, groups", "Calibration error", "Brier score", "Brier floor")
    head += [el("th", name, scope="col", class_="figure") for name in names]
    figures = [el("figure", el("figcaption", el("strong", each.name)), reliability_chart(each)) for each in found]
    return section(
        "calibration",
        "Can the judge's probabilities be believed?",
        scrolling(
            el("table", el("thead", el("tr", head)), el("tbody", map(_row, found)), class_="grid-table"), "Calibration by task"
        ),
        el(
            "details",
            el("summary", f"Confidence and share right, {len(found)} plots"),
            el("div", figures, class_="figures"),
            el(
                "p",
                "A dot is a tenth of the scale of confidence, its size the number of judgments. On the dashed line confidence is "
                "the share that was right; below it the judge is surer than it should be.",
                class_="note",
            ),
            class_="more",
        ),
        lead="Task by task, over the labelled judgments. Both figures are better low. The calibration error is the mean distance "
        "of confidence and share right over ten bins, and too high on few items. The floor is the Brier score of always giving "
        "the labels' frequencies in these items.",
    )


def _row(each: Calibration) -> Markup:
    told = each.brier < each.floor
    return el(
        "tr",
        el("th", each.task or "all judgments", scope="row"),
        el("td", each.configuration),
        el("td", f"{each.n}, {each.groups}", class_="figure"),
        el("td", number(each.ece), class_="figure"),
        el("td", el("strong", number(each.brier)), None if told else el("small", NO_BETTER), class_="figure"),
        el("td", number(each.floor), class_="figure"),
    )
